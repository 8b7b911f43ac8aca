"""`postroj shell`: open a shell in a fresh guest."""

from __future__ import annotations

from typing import Any

import click

from postroj.cli.commands.run import run_in_fresh_guest
from postroj.cli.completion import complete_image
from postroj.cli.guest_options import PassingThrough, guest_options
from postroj.errors import UsageError


@click.command(cls=PassingThrough)
@guest_options
@click.argument("image", required=False, shell_complete=complete_image)
def shell(image: str | None, image_name: str | None, **guest: Any) -> int:
    """Open a shell in a fresh guest, and delete the guest afterwards.

    IMAGE is the same as --image IMAGE.
    """
    from postroj.container.enter.nsenter import LOGIN_SHELL
    from postroj.image import selection

    if image and image_name:
        message = f"two images are given: '{image_name}' and '{image}'"
        raise UsageError(message)
    chosen = image_name or image or selection.DEFAULT
    return run_in_fresh_guest(LOGIN_SHELL, boot=True, image_name=chosen, **guest)
