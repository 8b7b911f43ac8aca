"""`postroj run`: run a command in a fresh guest."""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from postroj.cli.guest_options import (
    PassingThrough,
    bind,
    guest_limits,
    guest_options,
    guest_proxies,
    in_guest,
)
from postroj.errors import GuestError, UsageError
from postroj.model import NetworkMode

if TYPE_CHECKING:
    from collections.abc import Sequence


@click.command(cls=PassingThrough, context_settings={"allow_interspersed_args": False})
@guest_options
@click.option("--boot/--no-boot", default=True, help="With or without its init running.")
@click.option("-d", "--detach", is_flag=True, help="Leave the guest running, and print its name.")
@click.argument("argv", metavar="COMMAND...", nargs=-1, type=click.UNPROCESSED)
def run(argv: tuple[str, ...], boot: bool, detach: bool, **guest: Any) -> int:
    """Run one command in a fresh guest, which is gone afterwards.

    stdin, stdout, stderr and the exit status are the command's (128 + N when signal N killed it);
    125 says that postroj failed. With a terminal on stdin and stdout the command gets one, too.

    With --detach the guest stays until `postroj stop`, and COMMAND may be left out; else it is
    started as the unit command.service, and `postroj logs` shows what it prints.
    """
    if not argv and not detach:
        message = "missing argument 'COMMAND...'"
        raise UsageError(message, hint="`postroj run --help` shows what can be typed")
    if argv and detach and not boot:
        message = (
            "without its init a guest that stays can start no command: `--no-boot`, `--detach`"
        )
        raise UsageError(message, hint="`postroj exec` runs one in it")
    return run_in_fresh_guest(argv, boot=boot, detach=detach, **guest)


def run_in_fresh_guest(
    argv: Sequence[str],
    *,
    boot: bool,
    detach: bool = False,
    given: str,
    image_name: str,
    architecture: str | None,
    network: str,
    published: tuple[str, ...],
    proxy: str | None,
    binds: tuple[str, ...],
    read_only_binds: tuple[str, ...],
    variables: tuple[str, ...],
    chdir: str | None,
    boot_timeout: float,
    private_users: bool,
    read_only: bool,
    **limits: Any,
) -> int:
    """Boot a guest, run a command in it, and return the exit status of the command."""
    from postroj.container.boot.nspawn import GuestSpec
    from postroj.container.network import publish
    from postroj.container.rundir import judge_given
    from postroj.container.start import require_root, start_guest
    from postroj.prepare import obtain

    if given:
        judge_given(given)
    mode = NetworkMode(network)
    ports = publish.read(published, mode)
    ways = guest_proxies(proxy, mode)
    command = replace(in_guest(argv, variables, chdir), secrets=ways)
    shown = [
        *(bind(text, read_only=False) for text in binds),
        *(bind(text, read_only=True) for text in read_only_binds),
    ]
    asked = guest_limits(network=network, private_users=private_users, **limits)
    require_root()
    publish.require_free(ports)
    with obtain(image_name, architecture or "", boot=boot) as image:
        spec = GuestSpec(
            layers=image.layers,
            network=mode,
            published=ports,
            proxies=ways,
            boot=boot,
            binds=tuple(shown),
            boot_timeout=boot_timeout,
            image=image.name,
            systemd=image.systemd,
            emulated=image.emulated,
            purpose=shlex.join(("run", *argv)),
            given=given,
            keep=detach,
            asked=asked,
            private_users=private_users,
            read_only=read_only,
        )
        with start_guest(spec) as guest:
            if not detach:
                return guest.attach(command)
            if argv:
                guest.begin(command)
    if not guest.kept:
        message = "the guest ended before it could be left running"
        raise GuestError(message)
    click.echo(given or guest.name)
    return 0
