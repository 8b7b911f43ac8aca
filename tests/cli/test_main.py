"""The boundary: help, usage, errors as sentences, exit statuses, signals, pipes."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import click
import pytest

from postroj import DOCUMENTATION, __version__, cli
from postroj.cli.help import SYNONYMS, Sectioned
from postroj.errors import (
    CommandError,
    DownloadError,
    ExitStatus,
    GuestError,
    HostError,
    ImageError,
    Interrupted,
    PackageError,
    PostrojError,
    UsageError,
)
from postroj.image.catalog import catalog
from tests.support.cli import POSTROJ, postroj

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(autouse=True)
def process_state() -> Iterator[None]:
    """Restore signal handlers and logging, which `main` changes for the whole process."""
    signals = [signal.SIGTERM, signal.SIGHUP, signal.SIGINT]
    handlers = [signal.getsignal(number) for number in signals]
    logger = logging.getLogger("postroj")
    logging_state = logger.handlers, logger.propagate, logger.level
    yield
    for number, handler in zip(signals, handlers, strict=True):
        signal.signal(number, handler)
    logger.handlers, logger.propagate, logger.level = logging_state


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Return a function that runs `list-images` with a failing catalog; it returns the status."""

    def run(error: BaseException, *options: str) -> int:
        def fail(*_: object) -> object:
            raise error

        monkeypatch.setattr(catalog, "matching", fail)
        monkeypatch.setattr("sys.argv", ["postroj", *options, "list-images"])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        assert isinstance(caught.value.code, int)
        return caught.value.code

    return run


@pytest.mark.parametrize("command", cli.COMMANDS)
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_of_every_command(command: str, option: str) -> None:
    done = postroj(command, option)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.match(rf"Usage: .*postroj {command} ", done.stdout)
    assert "--help" in done.stdout


def test_help_lists_every_command_with_its_line_below_its_section() -> None:
    done = postroj("--help")
    assert (done.returncode, done.stderr) == (0, "")
    sections = dict(re.findall(r"^(.+):\n((?:  .+\n)+)", done.stdout, re.MULTILINE))
    for title, commands in cli.SECTIONS.items():
        rows = [line.split(maxsplit=1) for line in sections[title].splitlines()]
        assert [tuple(row) for row in rows] == list(commands.items())
    assert done.stdout.endswith(f"\nDocumentation: {DOCUMENTATION}\n")


def test_every_command_can_be_imported_and_has_a_help_line() -> None:
    context = click.Context(cli.cli)
    for name, line in cli.COMMANDS.items():
        command = cli.cli.get_command(context, name)
        assert command is not None
        assert command.name == name
        assert command.get_short_help_str(100)
        assert line.endswith(".")


def test_version_option() -> None:
    assert postroj("--version").stdout == f"postroj {__version__}\n"


@pytest.mark.parametrize("command", ["list-images", "pull", "remove", "pkgprobe", "selftest"])
def test_unknown_option_is_a_usage_error(command: str) -> None:
    done = postroj(command, "--bogus")
    assert (done.returncode, done.stdout) == (2, "")
    assert "'--bogus'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["bogus"], "see `postroj --help`"),
        (["pkgprob"], "did you mean `postroj pkgprobe`?"),
        (["list_image"], "did you mean `postroj list-images`?"),
        (["doc"], "did you mean `postroj doctor`?"),
        (["images"], "did you mean `postroj list-images`?"),
        (["list"], "did you mean `postroj list-images` or `postroj ps`?"),
        (["rm", "debian-trixie"], "did you mean `postroj remove` or `postroj stop`?"),
        (["help", "run"], "did you mean `postroj --help`?"),
        (["version"], "did you mean `postroj --version`?"),
        (["catalog", "chek"], "did you mean `postroj catalog check`?"),
        (["catalog", "rm"], "see `postroj catalog --help`"),
    ],
)
def test_unknown_command_is_a_usage_error_that_suggests_one(words: list[str], hint: str) -> None:
    done = postroj(*words)
    name = words[words[0] == "catalog"]
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: no such command '{name}'\n\nhint: {hint}\n"


def test_synonyms_lead_to_commands_and_are_none() -> None:
    targets = {words.split()[0] for meant in SYNONYMS.values() for words in meant}
    assert targets <= {*cli.COMMANDS, "--help", "--version"}
    assert not set(SYNONYMS) & set(cli.COMMANDS)


@pytest.mark.parametrize("group", [[], ["catalog"]])
def test_a_group_without_a_command_prints_its_help_on_stderr(group: list[str]) -> None:
    done = postroj(*group)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == postroj(*group, "--help").stdout
    assert "\\n" not in done.stderr


def test_options_without_a_command_are_a_usage_error() -> None:
    done = postroj("--quiet")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: missing command\n\nhint: see `postroj --help`\n"


@pytest.mark.parametrize("command", ["pkgprobe", "test"])
def test_sections_of_a_help_text_name_each_option_once(command: str) -> None:
    found = cli.cli.get_command(click.Context(cli.cli), command)
    assert isinstance(found, Sectioned)
    names = [name for names in found.sections.values() for name in names]
    options = [param for param in found.params if isinstance(param, click.Option)]
    assert sorted(names) == sorted(str(option.name) for option in options)


def test_an_error_is_a_sentence_its_evidence_and_a_hint(
    failing: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    error = HostError("'nspawn' is missing", evidence="one\n\ntwo", hint="install it")
    assert failing(error) == 4
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "error: 'nspawn' is missing\n  | one\n  | \n  | two\n\nhint: install it\n"


def test_an_error_without_evidence_and_hint(
    failing: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert failing(PostrojError("no")) == 4
    assert capsys.readouterr().err == "error: no\n"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (UsageError("x"), ExitStatus.USAGE),
        (HostError("x"), ExitStatus.ERROR),
        (DownloadError("x"), ExitStatus.ERROR),
        (ImageError("x"), ExitStatus.ERROR),
        (GuestError("x"), ExitStatus.ERROR),
        (CommandError(["x"], 1, ""), ExitStatus.ERROR),
        (PackageError("x"), ExitStatus.FAILED),
        (KeyboardInterrupt(), 130),
        (Interrupted(), 130),
        (Interrupted(signal.SIGTERM), 143),
        (Interrupted(signal.SIGHUP), 129),
    ],
)
def test_exit_status_of_every_error(
    failing: Callable[..., int], error: BaseException, status: int
) -> None:
    assert failing(error) == status


@pytest.mark.parametrize("options", [(), ("--debug",)])
def test_an_error_of_the_kernel_is_a_sentence(
    failing: Callable[..., int], options: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert failing(PermissionError(13, "Permission denied", "/x"), *options) == ExitStatus.ERROR
    said = capsys.readouterr().err
    sentence = "error: cannot read or write a file: [Errno 13] Permission denied: '/x'\n"
    assert said.endswith(sentence)
    assert ("Traceback" in said) is bool(options)


def test_debug_adds_a_traceback_and_keeps_the_status(
    failing: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert failing(HostError("the sentence"), "--debug") == 4
    said = capsys.readouterr().err
    assert "Traceback" in said
    assert "error: the sentence" in said


def test_errors_and_tracebacks_hide_the_secrets_of_urls(
    failing: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    url = "http://user:SECRET@host/f?jwt=SECRET"
    assert failing(HostError(f"'{url}' failed", evidence=f"see {url}"), "--debug") == 4
    said = capsys.readouterr().err
    assert said.count("http://***@host/f?jwt=***") == 3
    assert "SECRET" not in said


def test_debug_option_of_a_guest_command_is_not_ours() -> None:
    done = postroj("run", "--chdir", "here", "--", "program", "--debug")
    assert (done.returncode, "Traceback" in done.stderr) == (125, False)


def test_ctrl_c_shows_no_traceback(
    failing: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert failing(Interrupted()) == 130
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("terminal", "no_color", "coloured"),
    [(True, "", True), (True, "1", False), (False, "", False)],
)
def test_errors_are_coloured_on_a_terminal_only(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    terminal: bool,
    no_color: str,
    coloured: bool,
) -> None:
    monkeypatch.setenv("NO_COLOR", no_color)
    monkeypatch.setattr("sys.stderr.isatty", lambda: terminal)
    cli.show(HostError("x", hint="y"))
    said = capsys.readouterr().err
    assert ("\x1b[" in said) is coloured
    assert click.unstyle(said) == "error: x\n\nhint: y\n"


@pytest.mark.parametrize("moment", ["catalog.matching", "cli.cli.main", "cli.show"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_signals_set_the_exit_status(number: signal.Signals, moment: str) -> None:
    """Signal a process in a command, before and after; tests with guests cover those."""
    word = "nonsense" if moment == "cli.show" else "list-images"
    script = (
        "import os, signal, sys; from postroj import cli\n"
        "from postroj.image.catalog import catalog\n"
        f"def wait(*_, **options): os.kill(os.getpid(), {int(number)}); signal.pause()\n"
        f"{moment} = wait; sys.argv = ['postroj', '{word}']; cli.main()"
    )
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True)
    assert (done.returncode, done.stdout) == (128 + number, b"")
    assert b"Traceback" not in done.stderr


def small_pipe() -> tuple[int, int]:
    """Return the ends of a pipe that a report fills, as `small_socket` does."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    return reader, writer


def small_socket() -> tuple[int, int]:
    reader, writer = socket.socketpair()
    writer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    return reader.detach(), writer.detach()


@pytest.mark.parametrize("make", [small_pipe, small_socket])
def test_stdout_that_does_not_block_gets_all_of_a_report(
    make: Callable[[], tuple[int, int]],
) -> None:
    reader, writer = make()
    os.set_blocking(writer, False)
    argv = [*POSTROJ, "list-images", "--json"]
    with (
        os.fdopen(reader, "rb") as ours,
        subprocess.Popen(argv, stdout=writer, stderr=subprocess.PIPE) as child,
    ):
        os.close(writer)
        assert json.loads(ours.read())
        assert child.communicate()[1] == b""
    assert child.returncode == 0


def test_stdout_that_does_not_block_is_left_so_for_the_others_that_share_it() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    subprocess.run([*POSTROJ, "--version"], stdout=writer, check=True)
    assert not os.get_blocking(writer)
    assert os.read(reader, 100).startswith(b"postroj ")
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize("argv", [["list-images"], ["list-images", "--json"], ["--help"]])
def test_closed_stdout_ends_with_sigpipe(argv: list[str]) -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(
            [*POSTROJ, *argv], check=False, stdout=write, stderr=subprocess.PIPE, text=True
        )
    finally:
        os.close(write)
    assert done.returncode == 128 + signal.SIGPIPE
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["postroj", "pkg"], {"pkgprobe"}),
        (["postroj", "run", "--image", "debian-st"], {"debian-stretch", "debian-stable"}),
        (["postroj", "pkgprobe", "-i", "debian-t"], {"debian-trixie", "debian-testing"}),
        (["postroj", "pull", "debian-bul"], {"debian-bullseye"}),
        (["postroj", "selftest", "debian-13"], {"debian-13"}),
        (["postroj", "remove", ""], set()),
        (["postroj", "run", "--network", ""], {"private", "host", "none"}),
        (["postroj", "run", "--boot-"], {"--boot-timeout"}),
        *(
            (["postroj", command, "--vm"], {"--vm"})
            for command in ("run", "shell", "pkgprobe", "test")
        ),
        (["postroj", "nothing-like-it"], set()),
        (["postroj", "test", "dist/x"], {"dist/x"}),
        (["postroj", "shell", "debian-bul"], {"debian-bullseye"}),
        (["postroj", "test", "--steps", "install,re"], {"reinstall", "reboot", "remove"}),
        (["postroj", "test", "-i", "debian-13,debian-bul"], {"debian-bullseye"}),
        (["postroj", "run", "--arch", "aar"], {"aarch64"}),
    ],
)
def test_completion_of_commands_and_options(words: list[str], found: set[str]) -> None:
    env = {
        **os.environ,
        "_POSTROJ_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(words),
        "COMP_CWORD": str(len(words) - 1),
    }
    script = "import sys; from postroj.cli import main; sys.argv = ['postroj']; main()"
    done = subprocess.run(
        [sys.executable, "-c", script], check=False, capture_output=True, text=True, env=env
    )
    assert (done.returncode, done.stderr) == (0, "")
    values = [line.partition(",")[2] for line in done.stdout.split()]
    before = words[-1].rpartition(",")[0]
    assert {value.removeprefix(f"{before},") for value in values} == found
