"""Prepare images for booting: install systemd if it is missing, undo what prevents a boot.

A guest without init does the work, and the files it writes become a layer; the base stays as
published. `prepare.sh` repairs what whole families of distributions have in common; the catalog
contains what is specific to one release.
"""

from __future__ import annotations

import re
import shlex
from contextlib import contextmanager, suppress
from dataclasses import replace
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
from postroj.image.store import fitness, store
from postroj.model import Manager, NetworkMode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from postroj.image.catalog.entry import Entry
    from postroj.image.inspect import Contents
    from postroj.image.store.record import Record
    from postroj.model import Image

PATIENCE = 900.0
"""Seconds for a package manager to install systemd."""

FUNCTIONS = Path(__file__).with_name("prepare.sh")

CHANGE_PREFIX = "did: "
"""Prefix of the script's lines that report a change."""

DEFAULT_PACKAGES = {
    Manager.APT: ("systemd-sysv", "dbus", "libpam-systemd"),
    Manager.DNF: ("systemd", "dbus"),
    Manager.ZYPPER: ("systemd", "dbus-1"),
    Manager.PACMAN: ("systemd",),
}
"""Packages for an image that is not in the catalog."""

UNREACHABLE = re.compile(
    r"[Cc]ould(?: not|n't) (?:resolve|connect)|[Ff]ailed to connect|Unable to connect"
    r"|Temporary failure resolving|[Nn]etwork is unreachable|[Cc]onnection (?:timed out|refused)"
)
"""Messages of package managers, and of curl in them, when no repository can be reached."""

NOT_RUN = (126, 127)
"""Statuses of a shell, env(1) and the way into a guest that cannot start a program."""


def script(
    manager: Manager | None, packages: tuple[str, ...], repositories: tuple[str, ...]
) -> str:
    """Return the script that prepares an image and prints each of its changes.

    `packages` are installed, if there are any.
    """
    functions = FUNCTIONS.read_text(encoding="utf-8")
    parts = [functions, "mend"]
    if f"\nmend_{manager}() {{" in functions:
        parts.append(f"mend_{manager}")
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
    """Yield an image by name or alias, pulled and prepared if necessary, and in use meanwhile.

    It is for an architecture that runs here, by default this host's. Without `boot` the image is
    returned unprepared.

    :raises UsageError: if no image has that name.
    :raises HostError: if this host lacks something.
    :raises ImageError: if the build fails.
    """
    record = find_or_pull(name, architecture)
    with store.use((prepared(record) if boot else record).as_image()) as image:
        yield image


@contextmanager
def obtain_cached(name: str, architecture: str = "") -> Iterator[Image]:
    """Yield an image as `obtain` does, but download nothing.

    :raises UsageError: if no image has that name.
    :raises ImageError: if it is not cached or not prepared.
    """
    record = find_cached(name, architecture)
    if not record.is_prepared:
        message = f"the image '{record.name}' is not prepared yet, and `--offline` prevents that"
        hint = f"`postroj run --image {record.name} -- true` prepares it"
        raise ImageError(message, hint=hint)
    with store.use(record.as_image()) as image:
        yield image


def possible() -> bool:
    """Whether we may run guests, which makes a user root of what guests need."""
    from postroj.container.start import become_root

    try:
        become_root()
    except HostError:
        return False
    return True


def prepared(record: Record) -> Record:
    """Return the record of a prepared image; prepare it in a guest if nobody has yet.

    :raises HostError: if this host lacks something, or the cache cannot be written.
    :raises ImageError: if the preparation fails.
    """
    if record.is_prepared:
        return record
    name, architecture = record.name, record.architecture
    try:
        store.prepare()
    except HostError as error:
        message = f"the image '{name}' is not prepared yet, and {error.message}"
        raise HostError(message, evidence=error.evidence, hint=error.hint) from None
    with store.building(name, architecture) as directory:
        current = store.require(name, architecture)  # somebody may have, while we waited
        fitness.check(current)
        if not current.is_prepared:
            if current.prepared is not None:  # by layers of others
                current = replace(current, layers=(), prepared=None)
            with console.progress(f"prepare {name}") as progress:
                progress.describe("package manager")
                current = _prepare(current, directory)
    return current


def _prepare(record: Record, directory: Path) -> Record:
    # Imported late: needed once an image, while `obtain` is called for every guest.
    from postroj.container import naming
    from postroj.container.spec import GuestSpec
    from postroj.container.start import start_guest
    from postroj.image.inspect import inspect_squashfs
    from postroj.image.unpack import pack

    contents = inspect_squashfs(record.path)
    entry = _catalog_entry(record.name)
    packages = _missing_packages(record, contents, entry)
    if not contents.has_shell:  # NixOS creates it when it boots
        return store.extend(record, None, (), directory)
    text = script(record.manager, packages, entry.repositories if entry else ())
    image = record.as_image()
    spec = GuestSpec(
        hostname=naming.COMMON_HOST,
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
            changes = [
                line.removeprefix(CHANGE_PREFIX)
                for line in done.text.splitlines()
                if line.startswith(CHANGE_PREFIX)
            ]
            file = directory / "layer.squashfs" if changes else None
            if file:
                pack.squash_output(guest.layer_argv(), file)
    except CommandError as error:
        raise _failure(record.name, packages, error) from None
    except GuestError as error:
        message = f"the image '{record.name}' could not be prepared: {error.message}"
        hint = "is it for this architecture, and does it contain `/bin/sh`?"
        raise ImageError(message, evidence=error.evidence, hint=hint) from None
    return store.extend(record, file, tuple(changes), directory)


def _missing_packages(record: Record, contents: Contents, entry: Entry | None) -> tuple[str, ...]:
    """Return the packages that must be installed to make an image bootable.

    :raises ImageError: if it has no means to install them.
    """
    if contents.has_systemd:
        return ()
    if record.manager is None or contents.manager is None or not contents.has_shell:
        message = f"the image '{record.name}' has no systemd, and no package manager to install it"
        managers = ", ".join(Manager)
        hint = f"postroj knows {managers}; {_hint_to_enter(record.name)}"
        raise ImageError(message, evidence=contents.title, hint=hint)
    return (entry.packages if entry else ()) or DEFAULT_PACKAGES[record.manager]


def _catalog_entry(name: str) -> Entry | None:
    """Return the catalog's entry of an image; None for an imported image."""
    from postroj.image.catalog import catalog

    with suppress(UsageError):
        return catalog.find(name)
    return None


def _failure(name: str, packages: tuple[str, ...], error: CommandError) -> ImageError:
    """Explain why an image could not be prepared."""
    hint = _hint_to_enter(name)
    if isinstance(error, CommandTimeout):
        message = f"the image '{name}' was not prepared within {PATIENCE:g} s"
    elif not packages or error.status in NOT_RUN:
        message = f"the image '{name}' could not be prepared"
    elif UNREACHABLE.search(error.output):
        message = f"the package manager of the image '{name}' reached no repository"
        hint = "is this host online? missing packages are downloaded from the distribution"
    else:
        message = f"the package manager of the image '{name}' could not install systemd"
    output = "\n".join(
        line for line in error.output.splitlines() if not line.startswith(CHANGE_PREFIX)
    )
    return ImageError(message, evidence=process.last_lines(output), hint=hint)


def _hint_to_enter(name: str) -> str:
    return (
        f"`postroj run --no-boot --image {name} -- /bin/sh` opens a shell in the unprepared image"
    )
