"""`postroj matrix`: the jobs of a CI that spreads a probe over many machines."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import click

from postroj.cli import options
from postroj.cli.completion import complete_image
from postroj.fleet import Language

if TYPE_CHECKING:
    from collections.abc import Collection

    from postroj.model import Manager


@click.command("matrix")
@click.option(
    "-p",
    "--package",
    "packages",
    multiple=True,
    metavar="FILE_OR_URL",
    help="Only images that can install this package; may be repeated.",
)
@click.option(
    "-i",
    "--image",
    "image_names",
    multiple=True,
    metavar="NAME",
    shell_complete=complete_image,
    help="A name or a pattern ('debian-*'); may be repeated. [default: all that are supported]",
)
@options.architecture
@click.option(
    "--shards",
    type=click.IntRange(min=1),
    metavar="N",
    help="Spread the images over N jobs. [default: one job for each image]",
)
@click.option(
    "--format",
    "language",
    type=click.Choice([language.value for language in Language]),
    default=Language.JSON.value,
    show_default=True,
    help="For GitHub Actions, as a child pipeline of GitLab, or for another CI.",
)
def matrix(
    packages: tuple[str, ...],
    image_names: tuple[str, ...],
    architecture: str | None,
    shards: int | None,
    language: str,
) -> None:
    """Print the jobs that probe on many images, for a fleet of CI runners.

    Images are taken from the catalog, whatever is cached on this host. It takes no root.
    """
    from postroj import fleet
    from postroj.image import selection
    from postroj.image.architectures import of_this_host

    images = selection.choose_from_catalog(
        image_names, _managers(packages), architecture or of_this_host()
    )
    click.echo(fleet.matrix(images, Language(language), shards))


def _managers(packages: tuple[str, ...]) -> Collection[Manager]:
    """Return the package managers that install one of the packages."""
    from postroj.matrix import managers
    from postroj.probe.package import package_file

    with TemporaryDirectory(prefix="postroj-matrix-") as folder:
        paths = package_file.fetch(packages, (), Path(folder))
        return managers([package_file.recognise(path) for path in paths])
