"""Make an image of a running guest's root, in one squashfs file.

The guest is frozen while its files are read, so the image is that of one moment, as after a power
cut with all data on disk.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from postroj import console
from postroj.container import roster
from postroj.container.frozen import frozen
from postroj.container.layer import SEEDED
from postroj.container.rundir import read_facts
from postroj.errors import UsageError
from postroj.image.architectures import of_this_host
from postroj.image.importer import check_name
from postroj.image.inspect import inspect_squashfs
from postroj.image.store import store
from postroj.image.store.record import Provenance
from postroj.image.unpack import pack
from postroj.model import SourceKind, Verification

if TYPE_CHECKING:
    from pathlib import Path

    from postroj.image.store.record import Record

log = logging.getLogger(__name__)

LEFT_OUT = (
    *(f"./etc/{name}" for name in SEEDED),
    # two guests must not share an identity or a random seed
    "./var/lib/dbus/machine-id",
    "./var/lib/systemd/random-seed",
    "./var/log/journal/*",
)
BLANK = "etc/machine-id"
"""Empty in an image: each guest gets its own ID, and no presets are applied; machine-id(5)."""


def commit(name: str, image: str, *, force: bool = False) -> Record:
    """Make an image of a guest's files.

    :raises UsageError: if the guest does not exist or has private users, or if the image exists
        and `force` is not set.
    :raises GuestError: if the guest ends meanwhile.
    :raises ImageError: if its files cannot be read.
    """
    check_name(image)
    guest = roster.enter(name)
    with frozen(guest) as files:
        store.prepare()
        with store.building(image, of_this_host()) as directory:
            if not force and store.find(image, of_this_host()):
                message = f"there is an image '{image}' already"
                raise UsageError(message, hint="`--force` replaces it")
            file = directory / "image.squashfs"
            blank = directory / "blank"
            (blank / BLANK).parent.mkdir(parents=True)
            (blank / BLANK).touch()
            (blank / BLANK).chmod(0o444)
            with console.progress(f"commit {name}"):
                if not files.prefix:
                    log.warning("without cgroup v2 on this host, the guest keeps running meanwhile")
                pack.squash_output([*files.prefix, *tar_argv(files.root, blank)], file)
            guest.require()
            facts = read_facts(guest.run_dir)
            of = Provenance(
                source=SourceKind.IMPORT,
                url=f"guest {guest.name} of {facts.image if facts and facts.image else '?'}",
                build="",
                artifact="",
                compression=pack.COMPRESSION,
                verification=Verification.NONE,
            )
            # a guest that has booted needs no preparation
            prepared = () if guest.init() == "systemd" else None
            manager = inspect_squashfs(file).manager
            record = store.add(image, of_this_host(), manager, file, of, prepared=prepared)
    store.collect()
    return record


def tar_argv(root: Path, blank: Path) -> list[str]:
    """Return the command that writes a tar of a guest's root without its identity to stdout."""
    tar, *options = pack.tar_argv(str(root))
    left_out = (f"--exclude={path}" for path in LEFT_OUT)
    return [tar, "--anchored", *left_out, *options, f"--directory={blank}", BLANK]
