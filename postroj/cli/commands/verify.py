"""`postroj verify`: compare stored images with their digests."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from postroj import console
from postroj.cli import options
from postroj.cli.amounts import count
from postroj.cli.completion import complete_cached
from postroj.cli.stored_images import resolve, title
from postroj.console import megabytes
from postroj.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from postroj.image.upkeep import Finding

log = logging.getLogger(__name__)


@click.command()
@click.argument("names", metavar="[NAME]...", nargs=-1, shell_complete=complete_cached)
@options.architecture
@options.as_json
def verify(names: tuple[str, ...], architecture: str | None, as_json: bool) -> None:
    """Check stored images against their digests; without NAME all of them."""
    from postroj.image import upkeep
    from postroj.image.store import store
    from postroj.image.store.record import stored_images

    if names:
        images = resolve(names, architecture)
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
            "%s, %s, used by no image: `postroj prune` deletes unused files",
            count(len(unused), "file"),
            megabytes(sum(size for _, size in unused)),
        )
    _judge(findings)


def _judge(findings: Sequence[Finding]) -> None:
    """Raise an error if an image is damaged."""
    damaged = [finding.name for finding in findings if finding.faults]
    if damaged:
        are = "is" if len(damaged) == 1 else "are"
        message = f"{len(damaged)} of {count(len(findings), 'image')} {are} damaged"
        name = damaged[0] if len(damaged) == 1 else "NAME"
        raise ImageError(
            message,
            evidence="\n".join(damaged),
            hint=f"`postroj pull --force {name}` builds it again",
        )


def _found(finding: Finding) -> str:
    """Describe a verified image in one line."""
    name = title(finding.name, finding.architecture)
    if finding.faults:
        return f"{name}: damaged, {'; '.join(finding.faults)}"
    return f"{name}: clean, {megabytes(finding.size)}"
