"""`postroj export`: write a stored image to a file."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from postroj import away, console
from postroj.cli import host_paths, options
from postroj.cli.completion import complete_cached
from postroj.cli.stored_images import resolve, title
from postroj.console import megabytes
from postroj.errors import UsageError
from postroj.streams import STDOUT

if TYPE_CHECKING:
    from pathlib import Path

    from postroj.console import Progress
    from postroj.image.export import Format
    from postroj.model import Image

FORMATS = ("tar", "tar.zst", "squashfs", "disk")


@click.command()
@click.argument("name", metavar="NAME", shell_complete=complete_cached)
@click.argument("file", metavar="FILE", type=host_paths.EXPORTED)
@click.option(
    "--format",
    "format_name",
    type=click.Choice(FORMATS),
    help="Format of the file. [default: by its name]",
)
@click.option("--force", is_flag=True, help="Replace an existing file.")
@options.architecture
def export(
    name: str, file: Path, format_name: str | None, force: bool, architecture: str | None
) -> None:
    """Write a stored image to FILE: a tar, a squashfs, or a disk image with one partition.

    The extension of FILE selects the format: .tar, .tar.zst, .squashfs, .raw or .img. The file -
    is stdout, for tar formats only.
    """
    from postroj.container.start import become_root
    from postroj.image import export
    from postroj.image.store import fitness, store

    ((name, architecture),) = resolve([name], architecture)
    to_stdout = str(file) == "-"
    wanted = "tar" if to_stdout and not format_name else format_name
    format_ = export.Format(wanted) if wanted else export.format_of(file.name)
    record = store.require(name, architecture)
    fitness.check(record)
    image = record.as_image()
    if len(image.layers) > 1:  # they are merged by mounts
        become_root()
    with console.progress(f"export {name}", unit="B") as progress:
        if to_stdout:
            _export_to_stdout(image, format_, progress)
            return
        size = export.export(image, file, format_, progress, replace=force)
    click.echo(f"{title(name, architecture)}: {format_} in '{away.there(file)}', {megabytes(size)}")


def _export_to_stdout(image: Image, format_: Format, progress: Progress) -> None:
    from postroj.image import export
    from postroj.image.store import store

    if sys.stdout.isatty() or format_ not in (export.Format.TAR, export.Format.TAR_ZST):
        message = "only a tar can go to stdout, and stdout must not be a terminal"
        raise UsageError(message, hint="`postroj export NAME FILE` writes to a file")
    try:
        with store.use(image) as held:
            export.write(held, STDOUT, format_, progress)
    except BrokenPipeError:  # the reader has gone
        sys.exit(1)
