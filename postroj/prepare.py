"""An image that boots: what lacks systemd gets it, what keeps a container image from booting goes.

It is done in a guest without init, and what that guest has written becomes a layer of its own: the
base stays as its publisher made it. What is done is in `prepare.sh`: it knows what is wrong with
images of each family of distributions, and nothing of single ones, which are in the catalog.
"""

from __future__ import annotations

import os
import re
import shlex
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from postroj import console, process
from postroj.errors import (
    CommandError,
    CommandTimeout,
    GuestError,
    HostError,
    ImageError,
    UsageError,
)
from postroj.image.obtain import find_cached, find_or_pull
from postroj.image.store import store
from postroj.model import Manager, NetworkMode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from postroj.image.catalog.entry import Entry
    from postroj.image.inspect import Contents
    from postroj.image.store.record import Record
    from postroj.model import Image

PATIENCE = 900.0
"""Seconds for a package manager to bring systemd."""

FUNCTIONS = Path(__file__).with_name("prepare.sh")

DID = "did: "
"""How the script begins a line that says what it has done."""

USUAL = {
    Manager.APT: ("systemd-sysv", "dbus", "libpam-systemd"),
    Manager.DNF: ("systemd", "dbus"),
    Manager.ZYPPER: ("systemd", "dbus-1"),
    Manager.PACMAN: ("systemd",),
}
"""What an image that is not in the catalog gets."""

UNREACHABLE = re.compile(
    r"[Cc]ould(?: not|n't) (?:resolve|connect)|[Ff]ailed to connect|Unable to connect"
    r"|Temporary failure resolving|[Nn]etwork is unreachable|[Cc]onnection (?:timed out|refused)"
)
"""What package managers, and curl in them, say when they reach no repository."""

NOT_RUN = (126, 127)
"""What a shell, env(1) and the way into a guest end with when they cannot start a program."""


def script(
    manager: Manager | None, packages: tuple[str, ...], repositories: tuple[str, ...]
) -> str:
    """Return the script that makes an image boot; it says what it did, a line each.

    `packages` are installed, if any.
    """
    parts = [FUNCTIONS.read_text(encoding="utf-8"), "mend"]
    if manager is Manager.PACMAN:
        parts.append("mend_pacman")
    for command in repositories:
        parts += [f"{{ {command}\n}} >&2"]
    if repositories:
        parts.append("did led the package manager to where its release is now")
    if packages and manager:
        words = shlex.join(packages)
        parts += [f"{{ install_{manager} {words}\n}} >&2", "see_systemd", f"did installed {words}"]
    return "\n".join(parts) + "\n"


@contextmanager
def obtain(name: str, architecture: str = "", *, boot: bool = True) -> Iterator[Image]:
    """Have an image of that name or alias, pulled and prepared; kept while we use it.

    It is for an architecture that runs here, this host's if none is said. What is not to `boot` is
    had as it is.

    :raises UsageError: if no image has that name.
    :raises HostError: if this host lacks something.
    :raises ImageError: if it could not be made.
    """
    record = find_or_pull(name, architecture)
    with store.use((prepared(record) if boot else record).as_image()) as image:
        yield image


@contextmanager
def obtain_cached(name: str, architecture: str = "") -> Iterator[Image]:
    """Have an image as `obtain` does, if nothing need be fetched for it.

    :raises UsageError: if no image has that name.
    :raises ImageError: if it is not cached, or not prepared.
    """
    record = find_cached(name, architecture)
    if record.prepared is None:
        message = f"the image '{record.name}' is not prepared yet, which `--offline` does not do"
        hint = f"`postroj run --image {record.name} -- true` prepares it"
        raise ImageError(message, hint=hint)
    with store.use(record.as_image()) as image:
        yield image


def possible() -> bool:
    """Whether we may run the guest that it takes."""
    return os.geteuid() == 0


def prepared(record: Record) -> Record:
    """Return the record of an image that boots; prepare it, which needs root, if nobody did.

    :raises HostError: if that takes what this host lacks, or a cache that can be written.
    :raises ImageError: if it cannot be prepared.
    """
    if record.prepared is not None:
        return record
    name, architecture = record.name, record.architecture
    try:
        store.prepare()
    except HostError as error:
        message = f"the image '{name}' is not prepared yet, and {error.message}"
        raise HostError(message, evidence=error.evidence, hint=error.hint) from None
    with store.building(name, architecture) as directory:
        current = store.require(name, architecture)  # somebody else may have while we waited
        if current.prepared is None:
            with console.progress(f"prepare {name}") as progress:
                progress.describe("package manager")
                current = _prepare(current, directory)
    return current


def _prepare(record: Record, directory: Path) -> Record:
    # once for an image, and `obtain` is on the way of every guest
    from postroj.container.boot.nspawn import GuestSpec
    from postroj.container.start import start_guest
    from postroj.image.inspect import inspect_squashfs
    from postroj.image.unpack import pack

    seen = inspect_squashfs(record.path)
    known = _known(record.name)
    packages = _lacking(record, seen, known)
    if not seen.has_shell:  # as in NixOS, which makes it when it boots
        return store.extend(record, None, (), directory)
    text = script(record.manager, packages, known.repositories if known else ())
    image = record.as_image()
    spec = GuestSpec(
        layers=image.layers,
        boot=False,
        network=NetworkMode.PRIVATE if packages else NetworkMode.NONE,
        image=image.name,
        emulated=image.emulated,
        purpose="prepare",
    )
    try:
        with (
            store.use(image),
            start_guest(spec) as guest,
        ):
            done = guest.run(
                ["/bin/sh", "-s"],
                stdin=text.encode(),
                env={"DEBIAN_FRONTEND": "noninteractive"},
                timeout=PATIENCE,
            )
            said = [line for line in done.text.splitlines() if line.startswith(DID)]
            file = directory / "layer.squashfs" if said else None
            if file:
                pack.squash_output(guest.layer_argv(), file)
    except CommandError as error:
        raise _failure(record.name, packages, error) from None
    except GuestError as error:
        message = f"the image '{record.name}' could not be prepared: {error.message}"
        hint = "is it made for this architecture, and is there a `/bin/sh` in it?"
        raise ImageError(message, evidence=error.evidence, hint=hint) from None
    return store.extend(record, file, tuple(line.removeprefix(DID) for line in said), directory)


def _lacking(record: Record, seen: Contents, known: Entry | None) -> tuple[str, ...]:
    """Return the packages that must be installed so that an image boots.

    :raises ImageError: if nothing can install them.
    """
    if seen.has_systemd:
        return ()
    if record.manager is None or seen.manager is None or not seen.has_shell:
        message = f"the image '{record.name}' has no systemd, and nothing that can install it"
        managers = ", ".join(Manager)
        hint = f"postroj knows {managers}; {_enter(record.name)}"
        raise ImageError(message, evidence=seen.title, hint=hint)
    return (known.packages if known else ()) or USUAL[record.manager]


def _known(name: str) -> Entry | None:
    """Return what the catalog says of an image; None of one that the user has brought."""
    from postroj.image.catalog import catalog

    with suppress(UsageError):
        return catalog.find(name)
    return None


def _failure(name: str, packages: tuple[str, ...], error: CommandError) -> ImageError:
    """Say why an image could not be prepared."""
    hint = _enter(name)
    if isinstance(error, CommandTimeout):
        message = f"the image '{name}' was not prepared within {PATIENCE:g} s"
    elif not packages or error.status in NOT_RUN:
        message = f"the image '{name}' could not be prepared"
    elif UNREACHABLE.search(error.output):
        message = f"the package manager of the image '{name}' reached no repository"
        hint = "is this host online? what an image lacks is fetched from its distribution"
    else:
        message = f"the package manager of the image '{name}' could not install systemd"
    said = "\n".join(line for line in error.output.splitlines() if not line.startswith(DID))
    return ImageError(message, evidence=process.last_lines(said), hint=hint)


def _enter(name: str) -> str:
    return f"`postroj run --no-boot --image {name} -- /bin/sh` enters it as it is"
