"""`postroj verify`, `remove` and `prune`: what is stored, and stays so."""

from __future__ import annotations

import json
import logging
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from postroj import console, paths
from postroj.cli import options
from postroj.cli.completion import complete_cached
from postroj.console import megabytes
from postroj.errors import ImageError, UsageError, VerificationError
from postroj.streams import STDOUT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from postroj.console import Progress
    from postroj.image.export import Format
    from postroj.image.upkeep import Finding
    from postroj.model import Image

FORMATS = ("tar", "tar.zst", "squashfs", "disk")
log = logging.getLogger(__name__)


@click.command()
@click.argument("names", metavar="[NAME]...", nargs=-1, shell_complete=complete_cached)
@options.architecture
@options.as_json
def verify(names: tuple[str, ...], architecture: str | None, as_json: bool) -> None:
    """Compare the files of stored images with their digests; without a name of all of them."""
    from postroj.image import upkeep
    from postroj.image.store import store
    from postroj.image.store.record import stored_images

    if names:
        images = _images(names, architecture)
        for image in images:
            if image not in stored_images():
                store.require(*image)
    else:
        images = [image for image in stored_images() if architecture in (None, image[1])]
    with console.progress("verify", unit="B") as progress:
        findings = list(upkeep.verify(images, progress))
    for finding in () if as_json else findings:
        click.echo(_found(finding))
    unused = upkeep.unused()
    if as_json:
        found = [asdict(finding) | {"clean": not finding.faults} for finding in findings]
        click.echo(json.dumps({"images": found, "unused": [name for name, _ in unused]}, indent=2))
    if unused:
        log.info(
            "%s of no image, %s: `postroj prune` deletes what nothing uses",
            _count(len(unused), "file"),
            megabytes(sum(size for _, size in unused)),
        )
    _judge(findings)


def _judge(findings: Sequence[Finding]) -> None:
    """Raise if an image is damaged."""
    damaged = [finding.name for finding in findings if finding.faults]
    if damaged:
        are = "is" if len(damaged) == 1 else "are"
        message = f"{len(damaged)} of {_count(len(findings), 'image')} {are} not as stored"
        name = damaged[0] if len(damaged) == 1 else "NAME"
        raise ImageError(
            message,
            evidence="\n".join(damaged),
            hint=f"`postroj pull --force {name}` makes it anew",
        )


def _found(finding: Finding) -> str:
    """Return one line on an image that was verified."""
    name = _called(finding.name, finding.architecture)
    if finding.faults:
        return f"{name}: damaged, {'; '.join(finding.faults)}"
    return f"{name}: clean, {megabytes(finding.size)}"


@click.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True, shell_complete=complete_cached)
@options.architecture
def remove(names: tuple[str, ...], architecture: str | None) -> None:
    """Delete stored images."""
    from postroj.image.store import store, warm_layers
    from postroj.image.store.record import stored_images

    images = _images(names, architecture)
    store.prepare()
    for image in images:
        if image not in stored_images():
            store.require(*image)  # all of them, or none
    for image in images:
        freed = store.remove(*image) + store.collect() + warm_layers.collect()
        click.echo(f"{_called(*image)}: removed, {megabytes(freed)} freed")


@click.command()
@click.option("--all", "everything", is_flag=True, help="All images, too, that no guest uses.")
@click.option("--dry-run", is_flag=True, help="Delete nothing, say what would be deleted.")
@options.as_json
def prune(everything: bool, dry_run: bool, as_json: bool) -> None:
    """Delete what nothing uses: files that no image names, what killed commands left."""
    from postroj.container import garbage
    from postroj.image import upkeep

    guests = garbage.sweep(dry_run=dry_run)
    done = upkeep.prune(everything=everything, dry_run=dry_run)
    if as_json:
        found = asdict(done) | {"guests": guests, "dry_run": dry_run}
        found["images"] = [{"name": name, "architecture": arch} for name, arch in done.images]
        click.echo(json.dumps(found, indent=2))
        return
    for image in done.images:
        click.echo(f"{_called(*image)}: {'would be ' if dry_run else ''}removed")
    for name in (*done.files, *done.layers, *done.leftovers, *guests):
        click.echo(f"{name}: {'would be ' if dry_run else ''}deleted")
    for name in done.held:
        click.echo(f"{name}: kept, in use by a guest or by another command")
    click.echo(f"{megabytes(done.freed)} {'would be ' if dry_run else ''}freed")


@click.command()
@click.argument("name", metavar="NAME", shell_complete=complete_cached)
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "format_name",
    type=click.Choice(FORMATS),
    help="Instead of what the name of the file says.",
)
@click.option("--force", is_flag=True, help="Replace the file.")
@options.architecture
def export(
    name: str, file: Path, format_name: str | None, force: bool, architecture: str | None
) -> None:
    """Write a stored image to a file: a tar, a squashfs, or a disk image with one partition.

    The name of the file tells the format: .tar, .tar.zst, .squashfs, .raw or .img. The file - is
    stdout, which takes a tar.
    """
    from postroj.image import export
    from postroj.image.store import store

    ((name, architecture),) = _images([name], architecture)
    to_stdout = str(file) == "-"
    wanted = "tar" if to_stdout and not format_name else format_name
    format_ = export.Format(wanted) if wanted else export.format_of(file.name)
    image = store.require(name, architecture).as_image()
    with console.progress(f"export {name}", unit="B") as progress:
        if to_stdout:
            _export_to_stdout(image, format_, progress)
            return
        size = export.export(image, file, format_, progress, replace=force)
    click.echo(f"{_called(name, architecture)}: {format_} in '{file}', {megabytes(size)}")


def _export_to_stdout(image: Image, format_: Format, progress: Progress) -> None:
    from postroj.image import export
    from postroj.image.store import store

    if sys.stdout.isatty() or format_ not in (export.Format.TAR, export.Format.TAR_ZST):
        message = "stdout takes a tar, and is not to be a terminal"
        raise UsageError(message, hint="`postroj export NAME FILE` writes to a file")
    try:
        with store.use(image) as held:
            export.write(held, STDOUT, format_, progress)
    except BrokenPipeError:  # whoever reads it has had enough
        sys.exit(1)


@click.command()
@click.argument("names", metavar="[NAME]...", nargs=-1, shell_complete=complete_cached)
@click.option(
    "--file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The lock file, instead of ./postroj.lock.",
)
@click.option("--check", is_flag=True, help="Write nothing; fail if images differ from the file.")
@options.architecture
def lock(names: tuple[str, ...], file: Path | None, check: bool, architecture: str | None) -> None:
    """Write down which exact images are stored, for every pull to make them again or fail.

    Without a name all that are stored; with names only theirs are written, the others in the file
    stay.
    """
    from postroj.image.store import lockfile, store

    file = file or paths.lock_file() or Path(paths.LOCK_NAME)
    images = _images(names, architecture)
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
        click.echo(f"{_called(one.name, one.architecture)}: locked, {digest[:16]}")
        if not one.is_reproducible:
            log.warning(
                "%s: cannot be made again as it is, since its record does not say how", one.name
            )


def _check_lock(file: Path, images: Sequence[tuple[str, str]]) -> None:
    """Compare what is stored with a lock file."""
    from postroj.image.store import lockfile, store

    locked = {(one.name, one.architecture): one for one in lockfile.load(file)}
    asked = images or list(locked)
    differing = {name: "not in the file" for name, arch in asked if (name, arch) not in locked}
    wanted = [locked[image] for image in asked if image in locked]
    differing |= lockfile.differences(wanted, store.records())
    for name, architecture in asked:
        click.echo(f"{_called(name, architecture)}: {differing.get(name, 'as locked')}")
    if differing:
        message = f"{_count(len(differing), 'image')} not as '{file}' has it"
        evidence = "\n".join(sorted(differing))
        hint = "`postroj pull NAME` makes it so, `postroj lock NAME` writes down what is cached"
        raise VerificationError(message, evidence=evidence, hint=hint)


def _images(names: Sequence[str], architecture: str | None) -> list[tuple[str, str]]:
    """Return names of the store and the architecture, each image once."""
    from postroj.image import architectures, upkeep

    wanted = architecture or architectures.of_this_host()
    return list(dict.fromkeys((upkeep.resolve(name, wanted), wanted) for name in names))


def _called(name: str, architecture: str) -> str:
    """Return the name of an image, with its architecture if that is not this host's."""
    from postroj.image import architectures

    return name if architecture == architectures.of_this_host() else f"{name} ({architecture})"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' if number != 1 else ''}"
