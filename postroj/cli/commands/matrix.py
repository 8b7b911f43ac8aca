"""`postroj matrix`: print CI jobs that probe on many images."""

from __future__ import annotations

import logging
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

from postroj.ci_matrix import Language
from postroj.cli import host_paths, options, project
from postroj.errors import NothingToTest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from postroj.probe.excuse.expectations import Expectations

log = logging.getLogger(__name__)

KEYS = ("package", "image", "arch")
"""Keys of the project file that matter here."""


@click.command("matrix")
@click.option(
    "-p",
    "--package",
    "packages",
    multiple=True,
    type=host_paths.PACKAGE,
    metavar="FILE_OR_URL",
    help="Use only images that can install this package: a file, pattern, folder, .changes file "
    "or URL. Repeatable.",
)
@options.images("[default: all supported]")
@options.architecture
@click.option(
    "--default-images",
    "usual",
    is_flag=True,
    help="Without --image, use only the default image for each kind of package.",
)
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
@project.options
@click.pass_context
def matrix(
    ctx: click.Context, /, shards: int | None, language: str, usual: bool, **given: Any
) -> None:
    """Print CI jobs that probe on many images.

    The images come from the catalog, cached or not. Packages, images and their architecture that
    are not given are those of the project file. Root is not needed.
    """
    from postroj import ci_matrix
    from postroj import matrix as probes
    from postroj.image.architectures import of_this_host

    named = {name: given.pop(name) for name in ("project_file", "no_project")}
    origin = project.settled(ctx, given, tables=True, keys=KEYS, needed=usual, **named)
    packages = given["packages"] or tuple(chain.from_iterable(origin.package_sets()))
    machine = given["architecture"] or of_this_host()
    with (
        TemporaryDirectory(prefix="postroj-matrix-") as folder,
        origin.of("image"),
    ):
        images = probes.images_for(
            packages, given["image_names"], machine, Path(folder), usual=usual
        )
    tried = list(_tried(images, origin.expectations))
    if not tried:
        message = "the project file excludes all of these images"
        raise NothingToTest(message, hint='its tables `[[expect]]` do, with `outcome = "skip"`')
    click.echo(ci_matrix.matrix(tried, Language(language), shards))


def _tried(images: Sequence[str], expectations: Expectations) -> Iterator[str]:
    """Yield the images that the project file does not exclude."""
    from postroj.probe.excuse import expectations as excuses

    for name in images:
        if why := excuses.skip(expectations, name):
            log.info("%s: %s", name, why)
        else:
            yield name
