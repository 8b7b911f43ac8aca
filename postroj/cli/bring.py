"""`postroj import`."""

from __future__ import annotations

import click

from postroj.console import megabytes
from postroj.errors import UsageError
from postroj.model import SHA256


@click.command("import")
@click.argument("name")
@click.argument("source", type=click.Path())
@click.option("--sha256", metavar="DIGEST", help="Of the file or of what the URL brings.")
@click.option("--subtree", default="", metavar="FOLDER", help="Folder of an archive as the root.")
@click.option("--force", is_flag=True, help="Replace an image of that name.")
def bring(name: str, source: str, sha256: str | None, subtree: str, force: bool) -> None:
    """Make the image NAME of what you have.

    SOURCE is a folder, an archive (tar, also compressed, also of docker or OCI), a squashfs, a raw
    disk, an http or https URL of one of these files, or docker://REFERENCE.
    """
    from postroj import prepare
    from postroj.image.architectures import of_this_host
    from postroj.image.importer import ImportRequest, import_image
    from postroj.report.text import visible

    if sha256 is not None and not SHA256.fullmatch(sha256.lower()):
        message = f"'{sha256}' is not a SHA-256"
        raise UsageError(message, hint="it has 64 hexadecimal digits, as `sha256sum` prints them")
    record = import_image(
        ImportRequest(
            name=name,
            source=source,
            architecture=of_this_host(),
            sha256=sha256,
            subtree=subtree,
            force=force,
        )
    )
    click.echo(f"{record.name}: imported, {megabytes(record.size)}, {record.verification}")
    if prepare.possible():
        for line in prepare.prepared(record).prepared or ():
            click.echo(f"{record.name}: {visible(line)}")
