"""The command line: parse, call, render. The only room that knows click, prints or exits.

This module is the boundary: it turns every `PostrojError` into one sentence, its evidence and a
hint on stderr, and into the exit status. Commands live beside it and are imported when they run,
so that `postroj --help` starts at once.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from postroj import __version__, console
from postroj.errors import Interrupted, PostrojError, UsageError
from postroj.report.visible import visible
from postroj.streams import STDERR

if TYPE_CHECKING:
    from types import FrameType

COMMANDS = {
    "list-images": "Show the catalog of images.",
    "pull": "Fetch, verify and store images.",
    "import": "Make an image of what you have.",
    "verify": "Compare stored images with their digests.",
    "remove": "Delete stored images.",
    "prune": "Delete what nothing uses.",
    "export": "Write an image to a file for other tools.",
    "lock": "Write down which exact images there are.",
    "run": "Run one command in a fresh guest.",
    "shell": "Open an interactive shell in a fresh guest.",
    "ps": "Show the guests that run.",
    "exec": "Run a command in a guest that runs.",
    "cp": "Copy files into a guest that runs, or out of it.",
    "logs": "Show the journal or the console of a guest.",
    "stop": "End guests.",
    "restart": "Restart guests.",
    "commit": "Make an image of a guest that runs.",
    "pkgprobe": "Probe a package in a fresh guest.",
    "matrix": "Print the jobs of a CI, for many images.",
    "selftest": "Prove that postroj works on this host.",
    "doctor": "Show what this host lacks, and mend it.",
}
"""Name of a command, and its line in `postroj --help`."""

PYTHONS = ("exec", "import")
"""Commands whose names mean something to Python: their modules and functions end in `_`."""


class LazyGroup(click.Group):
    """A group which imports a command when it is asked for it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return all names, in the order of a first session."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command behind a name."""
        if cmd_name not in COMMANDS:
            return None
        name = cmd_name.replace("-", "_") + "_" * (cmd_name in PYTHONS)
        command = getattr(import_module(f"postroj.cli.commands.{name}"), name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="postroj %(version)s")
@click.option("-v", "--verbose", "verbosity", flag_value=1, type=int, help="Show what is run.")
@click.option("-q", "--quiet", "verbosity", flag_value=-1, type=int, help="Show problems only.")
@click.option("--debug", is_flag=True, help="Like --verbose; errors come with a traceback.")
@click.option("--catalog", metavar="FILE", help="Images of your own, added to those there are.")
@click.option("--lock", metavar="FILE", help="Images as in this file, instead of ./postroj.lock.")
@click.option("--ignore-lock", is_flag=True, help="Images as they are now, also with a lock file.")
@click.pass_context
def cli(
    ctx: click.Context,
    verbosity: int | None,
    debug: bool,
    catalog: str | None,
    lock: str | None,
    ignore_lock: bool,
) -> None:
    """Answer whether a package installs, starts and keeps running, under a real systemd."""
    if catalog is not None:
        os.environ["POSTROJ_CATALOG"] = catalog
    if ignore_lock or lock is not None:
        os.environ["POSTROJ_LOCK"] = "" if ignore_lock else lock or ""
    ctx.ensure_object(Boundary).debug = debug
    console.set_up_logging(1 if debug else verbosity or 0)


class Boundary:
    """What the boundary has to know of a command line: whether errors come with a traceback."""

    debug = False


def main() -> NoReturn:
    """Run the command line, and exit with the status that its documentation promises."""
    # a standard stream that is closed would be taken by the next file that is opened
    while os.open(os.devnull, os.O_RDWR) <= STDERR:
        pass
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.stdout = sys.stdout or Path(os.devnull).open("w")  # noqa: SIM115 for all our life
    sys.stderr = sys.stderr or Path(os.devnull).open("w")  # noqa: SIM115
    boundary = Boundary()
    try:
        status = cli.main(prog_name="postroj", standalone_mode=False, obj=boundary)
    except click.exceptions.Abort as abort:  # how click wraps every KeyboardInterrupt
        cause = abort.__cause__ if isinstance(abort.__cause__, Interrupted) else Interrupted()
        status = cause.exit_status
    except (click.ClickException, PostrojError) as error:
        _trace(boundary)
        sentence = usage_error(error) if isinstance(error, click.ClickException) else error
        show(sentence)
        status = sentence.exit_status
    except SystemExit as end:  # completion, or (1) whoever reads our output has had enough
        status = 128 + signal.SIGPIPE if end.code == 1 else end.code
    except OSError as error:
        _trace(boundary)
        sentence = file_error(error)
        show(sentence)
        status = sentence.exit_status
    gc.freeze()  # the interpreter would look through all we have imported, twice, before it ends
    sys.exit(status or 0)


def _trace(boundary: Boundary) -> None:
    if boundary.debug:
        import traceback

        traceback.print_exc()


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise Interrupted(number)


def usage_error(error: click.ClickException) -> UsageError:
    """Return what click has to say about a command line, in our words."""
    ctx = error.ctx if isinstance(error, click.UsageError) else None
    hint = f"`{ctx.command_path} --help` shows what can be typed" if ctx else ""
    message = error.format_message().strip().rstrip(".")
    return UsageError(message[:1].lower() + message[1:], hint=hint)


def file_error(error: OSError) -> PostrojError:
    """Return what the kernel has to say, in our words."""
    return PostrojError(f"a file could not be read or written: {error}")


def show(error: PostrojError) -> None:
    """Print an error: one sentence, the evidence, a hint."""
    colour = console.colour_wanted(sys.stderr)
    head = click.style("error:", fg="red", bold=True) if colour else "error:"
    click.echo(f"{head} {visible(error.message)}", err=True)
    for line in error.evidence.splitlines():
        click.echo(f"  | {visible(line)}", err=True)
    if error.hint:
        head = click.style("hint:", fg="cyan", bold=True) if colour else "hint:"
        click.echo(f"\n{head} {visible(error.hint)}", err=True)
