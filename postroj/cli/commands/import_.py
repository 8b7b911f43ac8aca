"""`postroj import`."""

from __future__ import annotations

import click

from postroj.cli import host_paths, options
from postroj.console import megabytes
from postroj.errors import UsageError
from postroj.model import SHA256


@click.command("import")
@click.argument("name")
@click.argument("source", type=host_paths.SOURCE)
@click.option("--sha256", metavar="DIGEST", help="Expected SHA-256 of the file or download.")
@click.option(
    "--subtree",
    default="",
    type=host_paths.IN_GUEST,
    metavar="FOLDER",
    help="Use this folder of the archive as the root.",
)
@click.option(
    "--allow-unverified", is_flag=True, help="Accept a download over http without --sha256."
)
@click.option("--force", is_flag=True, help="Replace an existing image.")
@options.require
def import_(
    name: str,
    source: str,
    sha256: str | None,
    subtree: str,
    allow_unverified: bool,
    force: bool,
) -> None:
    """Import SOURCE as the image NAME.

    SOURCE is a folder, a tar archive (plain, compressed, or saved by docker or as OCI), a squashfs
    file, a raw disk image, an http(s) URL of such a file, or docker://REFERENCE.
    """
    from postroj import prepare
    from postroj.image.architectures import of_this_host
    from postroj.image.importer import ImportRequest, import_image
    from postroj.report.visible import visible

    if sha256 is not None and not SHA256.fullmatch(sha256.lower()):
        message = f"'{sha256}' is not a SHA-256"
        raise UsageError(message, hint="`sha256sum` prints its 64 hexadecimal digits")
    record = import_image(
        ImportRequest(
            name=name,
            source=source,
            architecture=of_this_host(),
            sha256=sha256,
            subtree=subtree,
            allow_unverified=allow_unverified,
            force=force,
        )
    )
    click.echo(f"{record.name}: imported, {megabytes(record.size)}, {record.verification}")
    if prepare.possible():
        for line in prepare.prepared(record).prepared or ():
            click.echo(f"{record.name}: {visible(line)}")
