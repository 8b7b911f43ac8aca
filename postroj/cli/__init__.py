"""The command line: parse, call, print. Only this package imports click, prints or exits.

This module prints every `PostrojError` as one sentence, its evidence and a hint on stderr, and
returns its exit status. Commands live in `commands` and are imported when they run, which keeps
`postroj --help` fast.
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

from postroj import __version__, away, console
from postroj.cli import elsewhere, host_paths
from postroj.cli.help import Group, write_examples
from postroj.errors import Interrupted, PostrojError, UsageError
from postroj.report.visible import visible
from postroj.streams import STDERR, make_standard_streams_block
from postroj.urls import redacted_text

if TYPE_CHECKING:
    from types import FrameType

SECTIONS = {
    "Packages": {
        "test": "Probe what a build has left, where it fits.",
        "init": "Write down what a package does, as its contract.",
        "pkgprobe": "Probe packages together in fresh guests.",
        "matrix": "Print CI jobs that probe on many images.",
        "report": "Show what broke since when, from many reports.",
    },
    "Guests": {
        "run": "Run a command in a fresh guest.",
        "shell": "Open a shell in a fresh guest.",
        "ps": "List running guests.",
        "exec": "Run a command in a running guest.",
        "cp": "Copy files between a running guest and the host.",
        "logs": "Show the journal or the console of a guest.",
        "stop": "Stop guests.",
        "restart": "Reboot kept guests.",
        "commit": "Make an image of a running guest.",
    },
    "Images": {
        "list-images": "List the images of the catalog.",
        "pull": "Download, verify and store images.",
        "import": "Import an image from a file, folder, URL or registry.",
        "verify": "Check stored images against their digests.",
        "remove": "Delete stored images.",
        "prune": "Delete files that nothing uses.",
        "export": "Write a stored image to a file.",
        "lock": "Record the exact stored images in a lock file.",
        "catalog": "Check the catalog of images against its publishers.",
    },
    "This host": {
        "selftest": "Check that postroj works on this host.",
        "doctor": "Show what this host lacks, and install it.",
    },
}
"""Names of commands by section, each with its line in `postroj --help`."""

COMMANDS = {name: line for section in SECTIONS.values() for name, line in section.items()}
"""All of them."""

EXAMPLES = (
    ("doctor --fix", "install what this host lacks"),
    ("test dist/*", "do they install and keep running?"),
    ("test hello.deb -i 'debian-*'", "on every supported Debian?"),
    ("shell -i debian-trixie", "look around in a fresh guest"),
    ("test --help", "all options of a command"),
)

PYTHONS = ("exec", "import")
"""Commands whose names mean something to Python: their modules and functions end in `_`."""


class LazyGroup(Group):
    """A group that imports a command only when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the help text."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command."""
        if cmd_name not in COMMANDS:
            return None
        name = cmd_name.replace("-", "_") + "_" * (cmd_name in PYTHONS)
        command = getattr(import_module(f"postroj.cli.commands.{name}"), name)
        assert isinstance(command, click.Command)
        return elsewhere.guarded(cmd_name, command)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the first word names, perhaps to carry it out elsewhere."""
        name, command, rest = super().resolve_command(ctx, args)
        if command and (host := ctx.params.get("host")) and not ctx.resilient_parsing:
            command = import_module("postroj.cli.sending").Sent(command, host)
        return name, command, rest

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the sections of commands, importing none of them."""
        width = max(map(len, COMMANDS))
        for title, commands in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(f"{name:<{width}}", line) for name, line in commands.items()])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples, and where the documentation is."""
        write_examples(EXAMPLES, formatter)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="postroj %(version)s")
@click.option(
    "-v", "--verbose", "verbosity", flag_value=1, type=int, help="Show every command that is run."
)
@click.option("-q", "--quiet", "verbosity", flag_value=-1, type=int, help="Show only problems.")
@click.option("--debug", is_flag=True, help="Like --verbose, with tracebacks.")
@click.option(
    "--catalog",
    type=host_paths.CATALOG,
    metavar="FILE",
    help="Add the images of this catalog.",
)
@click.option(
    "--lock",
    type=host_paths.LOCK,
    metavar="FILE",
    help="Use this lock file, not ./postroj.lock.",
)
@click.option("--ignore-lock", is_flag=True, help="Use current images despite a lock file.")
@click.option(
    "--host",
    envvar="POSTROJ_HOST",
    metavar="ssh://[USER@]HOST[:PORT]",
    help="Run the command on another machine. [default: POSTROJ_HOST]",
)
@click.pass_context
def cli(
    ctx: click.Context,
    verbosity: int | None,
    debug: bool,
    catalog: str | None,
    lock: str | None,
    ignore_lock: bool,
    host: str | None,
) -> None:
    """Test whether a package installs, starts and keeps running under a real systemd."""
    if catalog is not None:
        os.environ["POSTROJ_CATALOG"] = catalog
    if ignore_lock or lock is not None:
        os.environ["POSTROJ_LOCK"] = "" if ignore_lock else lock or ""
    ctx.ensure_object(Boundary).debug = debug
    console.set_up_logging(1 if debug else verbosity or 0)


class Boundary:
    """Whether `main` prints a traceback with an error."""

    debug = False


def main(command: click.Command = cli, name: str = "postroj") -> NoReturn:
    """Run a command line and exit with its documented status."""
    # the next file opened would take the number of a closed standard stream
    while os.open(os.devnull, os.O_RDWR) <= STDERR:
        pass
    if elsewhere.is_linux():
        make_standard_streams_block()
    sys.stdout = sys.stdout or Path(os.devnull).open("w")  # noqa: SIM115 open until exit
    sys.stderr = sys.stderr or Path(os.devnull).open("w")  # noqa: SIM115
    try:
        _hear_signals()
        status = _run(command, name)
        _die_of_signals()
    except KeyboardInterrupt as interrupt:
        status = _status_of(interrupt)
    gc.freeze()  # or the interpreter would scan all imported objects twice at exit
    sys.exit(status)


def _run(command: click.Command, name: str) -> int | str:
    boundary = Boundary()
    try:
        status = command.main(prog_name=name, standalone_mode=False, obj=boundary)
    except click.exceptions.Abort as abort:  # how click wraps what interrupts a command
        status = _status_of(abort.__cause__)
    except (click.ClickException, PostrojError) as error:
        _trace(boundary)
        sentence = usage_error(error) if isinstance(error, click.ClickException) else error
        show(sentence)
        status = sentence.exit_status
    except SystemExit as end:  # completion, or (1) the reader of stdout has gone
        status = 128 + signal.SIGPIPE if end.code == 1 else end.code
    except OSError as error:
        _trace(boundary)
        sentence = file_error(error)
        show(sentence)
        status = sentence.exit_status
    return status or 0


def _trace(boundary: Boundary) -> None:
    if boundary.debug:
        import traceback

        click.echo(redacted_text(traceback.format_exc()), err=True, nl=False)


def _hear_signals() -> None:
    """Clean up before a signal ends this process."""
    if elsewhere.is_linux():
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, _interrupt)
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _die_of_signals() -> None:
    """Let signals end this process at once: there is nothing left to clean up."""
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        if signal.getsignal(number) in (_interrupt, signal.default_int_handler):
            signal.signal(number, signal.SIG_DFL)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise Interrupted(number)


def _status_of(interrupt: BaseException | None) -> int:
    return (interrupt if isinstance(interrupt, Interrupted) else Interrupted()).exit_status


def usage_error(error: click.ClickException) -> UsageError:
    """Convert an error of click about the command line."""
    ctx = error.ctx if isinstance(error, click.UsageError) else None
    hint = f"see `{ctx.command_path} --help`" if ctx else ""
    message = error.format_message().strip().rstrip(".")
    return UsageError(message[:1].lower() + message[1:], hint=hint)


def file_error(error: OSError) -> PostrojError:
    """Convert an error of the kernel about a file."""
    return PostrojError(f"cannot read or write a file: {error}")


def show(error: PostrojError) -> None:
    """Print an error on stderr: sentence, evidence, hint.

    Paths are the user's, and URLs have no secrets.
    """
    colour = console.colour_wanted(sys.stderr)
    head = click.style("error:", fg="red", bold=True) if colour else "error:"
    click.echo(f"{head} {_shown(error.message)}", err=True)
    for line in error.evidence.splitlines():
        click.echo(f"  | {_shown(line)}", err=True)
    if error.hint:
        head = click.style("hint:", fg="cyan", bold=True) if colour else "hint:"
        click.echo(f"\n{head} {_shown(error.hint)}", err=True)


def _shown(text: str) -> str:
    return visible(redacted_text(away.as_seen(text)))
