"""`postroj import`."""

from __future__ import annotations

import re

import click

from postroj.cli.amounts import megabytes
from postroj.errors import UsageError


@click.command("import")
@click.argument("name")
@click.argument("source", type=click.Path())
@click.option("--sha256", metavar="DIGEST", help="Of the file or of what the URL brings.")
@click.option("--subtree", default="", metavar="FOLDER", help="Folder of an archive as the root.")
@click.option("--force", is_flag=True, help="Replace an image of that name.")
def import_(name: str, source: str, sha256: str | None, subtree: str, force: bool) -> None:
    """Make the image NAME of what you have.

    SOURCE is a folder, an archive (tar, also compressed, also of docker or OCI), a squashfs, a raw
    disk, an http or https URL of one of these files, or docker://REFERENCE.
    """
    from postroj import prepare
    from postroj.image.importer import Wish, bring
    from postroj.image.pull import architecture
    from postroj.report.visible import visible

    if sha256 is not None and not re.fullmatch(r"[0-9a-fA-F]{64}", sha256):
        message = f"'{sha256}' is no SHA-256"
        raise UsageError(message, hint="it has 64 hexadecimal digits, as `sha256sum` prints them")
    record = bring(
        Wish(
            name=name,
            source=source,
            architecture=architecture(),
            sha256=sha256,
            subtree=subtree,
            force=force,
        )
    )
    click.echo(f"{record.name}: imported, {megabytes(record.size)}, {record.verification}")
    if prepare.possible():
        for line in prepare.prepared(record).prepared or ():
            click.echo(f"{record.name}: {visible(line)}")
