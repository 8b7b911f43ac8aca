"""`autopkgtest-virt-postroj`: serve guests to autopkgtest, and run its commands in them.

autopkgtest starts the server, and asks it how to run a command in the guest: by this module, as a
program.
"""

from __future__ import annotations

import os
import shlex
import sys
from typing import TYPE_CHECKING, Any

import click

from postroj import console
from postroj.cli import Boundary, main, options
from postroj.cli.completion import complete_image
from postroj.cli.guest_options import (
    PassingThrough,
    bind_options,
    guest_limits,
    guest_proxies,
    read_binds,
)
from postroj.errors import ExitStatus, UsageError
from postroj.model import NetworkMode

if TYPE_CHECKING:
    from collections.abc import Mapping

PROGRAM = "autopkgtest-virt-postroj"
ENTER = (sys.executable, "-P", "-m", "postroj.cli.autopkgtest")
"""Command line before the name of a guest and a command in it."""
COPY_TIMEOUT = "AUTOPKGTEST_VIRT_COPY_TIMEOUT"
"""Variable of autopkgtest for its option `--timeout-copy`, in seconds."""
USUAL_COPY_TIMEOUT = "300"
RESERVED = (254, 255)
"""Statuses by which autopkgtest knows that the server failed, and not the command."""
INSTEAD = 253
"""The status of a command that ended with one of those."""


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@options.architecture
@options.network
@options.proxy
@bind_options
@options.limits
@options.private_users
@click.option(
    "--setup",
    multiple=True,
    metavar="COMMAND",
    help="Shell command that changes the image first; the result is cached. Repeatable.",
)
@options.boot_timeout
@click.option("-d", "--debug", is_flag=True, help="Show every command that is run.")
@click.argument("image_name", metavar="IMAGE", shell_complete=complete_image)
def serve(debug: bool, image_name: str, **given: Any) -> None:
    """Serve guests of an image to autopkgtest.

    autopkgtest starts this program: `autopkgtest PACKAGE -- postroj IMAGE`. The image needs apt and
    is pulled if it is not stored. Each guest has dpkg-dev and package lists of at most a day ago,
    and ends with autopkgtest.
    """
    click.get_current_context().ensure_object(Boundary).debug = debug
    console.set_up_logging(1 if debug else 0)
    from postroj.autopkgtest import protocol
    from postroj.autopkgtest.testbed import GuestTestbed, Wanted
    from postroj.container.spec import GuestSpec
    from postroj.container.start import become_root

    mode = NetworkMode(given["network"])
    ways = guest_proxies(given["proxy"], mode)
    limits = ("memory", "cpus", "pids", "network", "private_users")
    spec = GuestSpec(
        layers=(),
        network=mode,
        proxies=ways,
        binds=read_binds(given["binds"], given["read_only_binds"]),
        boot_timeout=given["boot_timeout"],
        purpose=shlex.join(("autopkgtest", "--", "postroj", image_name)),
        asked=guest_limits(**{name: given[name] for name in limits}),
        private_users=given["private_users"],
    )
    wanted = Wanted(
        image=image_name,
        architecture=given["architecture"] or "",
        spec=spec,
        setup=given["setup"],
        enter=ENTER,
        copy_timeout=copy_timeout(os.environ),
    )
    become_root()
    with GuestTestbed(wanted) as testbed:
        protocol.serve(testbed, iter(sys.stdin.readline, ""), click.echo)


def copy_timeout(environ: Mapping[str, str]) -> float:
    """Return the seconds that autopkgtest gives one copy.

    :raises UsageError: if the variable is not a number above 0.
    """
    text = environ.get(COPY_TIMEOUT, USUAL_COPY_TIMEOUT)
    if not text.isdecimal() or not int(text):
        message = f"`{COPY_TIMEOUT}` is '{text}', not a number of seconds"
        raise UsageError(message)
    return float(text)


class Command(PassingThrough):
    """Exits with the status of the guest's command, or with 254 if postroj failed."""

    failed = ExitStatus.TESTBED_FAILED


@click.command(cls=Command, context_settings={"allow_interspersed_args": False})
@click.argument("name")
@click.argument("argv", nargs=-1, required=True, type=click.UNPROCESSED)
def enter(name: str, argv: tuple[str, ...]) -> int:
    """Run a command of autopkgtest in its guest."""
    from postroj.container import guest, roster

    console.set_up_logging(-1)
    command = guest.Command(argv=argv)
    status = roster.enter(name).attach(command, with_terminal=False)
    return INSTEAD if status in RESERVED else status


if __name__ == "__main__":
    main(enter, PROGRAM)
