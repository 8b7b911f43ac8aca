"""`postroj lock`: record which exact images are stored."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import click

from postroj import paths
from postroj.cli import host_paths, options
from postroj.cli.amounts import count
from postroj.cli.completion import complete_cached
from postroj.cli.stored_images import resolve, title
from postroj.errors import VerificationError

if TYPE_CHECKING:
    from collections.abc import Sequence

log = logging.getLogger(__name__)


@click.command()
@click.argument("names", metavar="[NAME]...", nargs=-1, shell_complete=complete_cached)
@click.option(
    "--file",
    type=host_paths.LOCKED,
    help="Lock file, instead of ./postroj.lock.",
)
@click.option("--check", is_flag=True, help="Only compare; fail if an image differs from the file.")
@options.architecture
def lock(names: tuple[str, ...], file: Path | None, check: bool, architecture: str | None) -> None:
    """Record the exact stored images, so that every pull makes the same ones or fails.

    Without NAME all stored images are recorded; with names, other entries of the file stay.
    """
    from postroj.image.store import lockfile, store

    file = file or paths.lock_file() or Path(paths.LOCK_NAME)
    images = resolve(names, architecture)
    if check:
        _check_lock(file, images)
        return
    if names:
        records = [store.require(*image) for image in images]
        others = lockfile.load(file) if file.exists() else []
        kept = [locked for locked in others if (locked.name, locked.architecture) not in images]
    else:
        records = [r for r in store.records() if architecture in (None, r.architecture)]
        kept = []
    locked = [lockfile.LockedImage.from_record(record) for record in records]
    lockfile.write(file, [*kept, *locked])
    for one in locked:
        digest = one.provenance.artifact or one.sha256
        click.echo(f"{title(one.name, one.architecture)}: locked, {digest[:16]}")
        if not one.is_reproducible:
            log.warning("%s: cannot be made again, as its record lacks the source", one.name)


def _check_lock(file: Path, images: Sequence[tuple[str, str]]) -> None:
    """Compare stored images with a lock file."""
    from postroj.image.store import lockfile, store

    locked = {(one.name, one.architecture): one for one in lockfile.load(file)}
    asked = images or list(locked)
    differing = {name: "not in the file" for name, arch in asked if (name, arch) not in locked}
    wanted = [locked[image] for image in asked if image in locked]
    differing |= lockfile.differences(wanted, store.records())
    for name, architecture in asked:
        click.echo(f"{title(name, architecture)}: {differing.get(name, 'as locked')}")
    if differing:
        differ = "differs" if len(differing) == 1 else "differ"
        message = f"{count(len(differing), 'image')} {differ} from '{file}'"
        evidence = "\n".join(sorted(differing))
        hint = (
            "`postroj pull NAME` gets the locked image, `postroj lock NAME` records the stored one"
        )
        raise VerificationError(message, evidence=evidence, hint=hint)
