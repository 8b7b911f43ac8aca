"""`postroj matrix`: print CI jobs that probe on many images."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import click

from postroj.ci_matrix import Language
from postroj.cli import host_paths, options

if TYPE_CHECKING:
    from collections.abc import Collection

    from postroj.model import Manager


@click.command("matrix")
@click.option(
    "-p",
    "--package",
    "packages",
    multiple=True,
    type=host_paths.PACKAGE,
    metavar="FILE_OR_URL",
    help="Use only images that can install this package. Repeatable.",
)
@options.images("[default: all supported]")
@options.architecture
@click.option(
    "--shards",
    type=click.IntRange(min=1),
    metavar="N",
    help="Maximum number of jobs. [default: one for each image]",
)
@click.option(
    "--format",
    "language",
    type=click.Choice([language.value for language in Language]),
    default=Language.JSON.value,
    show_default=True,
    help="Output for GitHub Actions, a GitLab child pipeline, or another CI.",
)
def matrix(
    packages: tuple[str, ...],
    image_names: tuple[str, ...],
    architecture: str | None,
    shards: int | None,
    language: str,
) -> None:
    """Print CI jobs that probe on many images.

    The images come from the catalog, cached or not. Root is not needed.
    """
    from postroj import ci_matrix
    from postroj.image import selection
    from postroj.image.architectures import of_this_host

    images = selection.choose_from_catalog(
        image_names, _managers(packages), architecture or of_this_host()
    )
    click.echo(ci_matrix.matrix(images, Language(language), shards))


def _managers(packages: tuple[str, ...]) -> Collection[Manager]:
    """Return the package managers that can install one of the packages."""
    from postroj.matrix import managers
    from postroj.probe.package import package_file

    with TemporaryDirectory(prefix="postroj-matrix-") as folder:
        paths = package_file.fetch(packages, (), Path(folder))
        return managers([package_file.recognise(path) for path in paths])
