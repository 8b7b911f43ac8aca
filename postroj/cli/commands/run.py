"""`postroj run`: run a command in a fresh guest."""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from postroj.cli.guest_options import (
    PassingThrough,
    guest_limits,
    guest_options,
    guest_proxies,
    image_and_command,
    in_guest,
    read_binds,
    require_possible,
)
from postroj.errors import GuestError, UsageError
from postroj.model import NetworkMode

if TYPE_CHECKING:
    from collections.abc import Sequence


@click.command(cls=PassingThrough, context_settings={"allow_interspersed_args": False})
@guest_options
@click.option(
    "--boot/--no-boot", default=True, help="Boot the guest, or run COMMAND without its init."
)
@click.option("-d", "--detach", is_flag=True, help="Keep the guest running and print its name.")
@click.argument("argv", metavar="[IMAGE] COMMAND...", nargs=-1, type=click.UNPROCESSED)
def run(
    argv: tuple[str, ...], boot: bool, detach: bool, image_name: str | None, **guest: Any
) -> int:
    """Run a command in a fresh guest, and delete the guest afterwards.

    The first word is the image if it is the name of one, and --image is not given.

    The command uses the stdin, stdout and stderr of postroj, with a terminal if both stdin and
    stdout are one. postroj exits with the status of the command, with 128 + N if signal N killed
    it, and with 125 if postroj itself failed.

    With --detach the guest runs until `postroj stop`, and COMMAND is optional: it runs as the unit
    command.service, and `postroj logs` shows its output.
    """
    words = argv
    image, argv = image_and_command(image_name, words)
    if not argv and not detach:
        message = "missing argument 'COMMAND...'"
        shell = f"`postroj shell {image}` opens a shell"
        raise UsageError(message, hint=shell if words else "see `postroj run --help`")
    if argv and detach and not boot:
        message = "`--no-boot --detach` takes no command: no systemd would run it"
        raise UsageError(message, hint="`postroj exec` runs a command in the kept guest")
    return run_in_fresh_guest(argv, boot=boot, detach=detach, image_name=image, **guest)


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
    own_kernel: bool,
    **limits: Any,
) -> int:
    """Boot a guest, run a command in it, and return the exit status of the command."""
    from postroj.container.network import publish
    from postroj.container.rundir import require_valid
    from postroj.container.spec import GuestSpec
    from postroj.container.start import become_root
    from postroj.guests import machine_for, start_guest
    from postroj.prepare import obtain

    require_possible(
        own_kernel=own_kernel,
        boot=boot,
        network=network,
        binds=bool(binds or read_only_binds),
        private_users=private_users,
        read_only=read_only,
    )
    if given:
        require_valid(given)
    mode = NetworkMode(network)
    ports = publish.read(published, mode)
    ways = guest_proxies(proxy, mode)
    command = replace(in_guest(argv, variables, chdir), secrets=ways)
    shown = read_binds(binds, read_only_binds)
    asked = guest_limits(network=network, private_users=private_users, **limits)
    become_root()
    publish.require_free(ports)
    with (
        obtain(image_name, architecture or "", boot=boot) as stored,
        machine_for(stored, wanted=own_kernel) as (image, machine),
    ):
        spec = GuestSpec(
            layers=image.layers,
            network=mode,
            published=ports,
            proxies=ways,
            boot=boot,
            binds=shown,
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
            machine=machine,
        )
        with start_guest(spec) as guest:
            if not detach:
                return guest.attach(command)
            if argv:
                guest.begin(command)
    if not guest.kept:
        message = "the guest ended before it could be kept"
        raise GuestError(message)
    click.echo(given or guest.name)
    return 0
