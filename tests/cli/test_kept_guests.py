"""`postroj cp`, `logs`, `restart` and `commit`: what is refused before a guest is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from click import Context
from click.testing import CliRunner

from postroj import locking, paths
from postroj.cli import cli
from postroj.container import naming, start
from postroj.container.rundir import Facts, write_facts
from postroj.errors import GuestError, UsageError
from tests.support.cli import postroj

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return the run directory of a guest without leader and console."""
    monkeypatch.setattr(start, "become_root", lambda: None)
    with locking.Claim.make(paths.state_dir(), naming.PREFIX) as claim:
        write_facts(claim.path, Facts(given="web"))
        yield claim.path


def run(name: str, *argv: str) -> str:
    command = cli.get_command(Context(cli), name)
    assert command
    done = CliRunner().invoke(command, argv, standalone_mode=False)
    if done.exception:
        raise done.exception
    return done.output


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["cp", "a", "b"], "one of SOURCE and TARGET must be GUEST:PATH"),
        (["cp", "web:a", "db:b"], "one of SOURCE and TARGET must be GUEST:PATH"),
        (["cp", "-", "-"], "one of SOURCE and TARGET must be GUEST:PATH"),
        (["cp", "web:a"], "missing argument 'TARGET'"),
        (["logs", "--console", "-u", "x", "web"], "`--unit` selects from the journal"),
        (["logs", "-n", "-1", "web"], "invalid value for '-n' / '--lines'"),
        (["restart"], "missing argument 'NAME...'"),
        (["restart", "--time", "-1", "web"], "invalid value for '--time'"),
        (["stop", "--time", "soon", "web"], "invalid value for '--time'"),
        (["commit", "web"], "missing argument 'IMAGE'"),
    ],
)
def test_usage_errors_of_commands_for_kept_guests(argv: list[str], message: str) -> None:
    done = postroj(*argv)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {message}")


@pytest.mark.parametrize(
    "argv",
    [
        ["cp", "db:a", "b"],
        ["cp", "b", "db:a"],
        ["logs", "db"],
        ["logs", "--console", "db"],
        ["restart", "web", "db"],
        ["commit", "db", "image"],
    ],
)
def test_unknown_guests_are_refused(web: Path, argv: list[str]) -> None:
    with pytest.raises(UsageError, match="no guest is named 'db'"):
        run(*argv)


@pytest.mark.parametrize("name", ["Image", "../image", "debian-trixie"])
def test_commit_refuses_invalid_image_names(web: Path, name: str) -> None:
    with pytest.raises(UsageError, match=f"'{name}' (cannot be|is) the name of an image"):
        run("commit", "web", name)


def test_restart_refuses_the_guest_of_another_command(web: Path) -> None:
    with pytest.raises(UsageError, match="'web' is in use by another command"):
        run("restart", "web")


@pytest.mark.parametrize(
    "argv", [["cp", "web:a", "b"], ["logs", "web"], ["commit", "web", "image"]]
)
def test_guest_that_is_not_ready_is_refused(web: Path, argv: list[str]) -> None:
    with pytest.raises(GuestError, match="cannot be entered: it is not ready yet, or is ending"):
        run(*argv)


def test_logs_of_a_console_are_plain_text(web: Path) -> None:
    (web / "console").write_bytes(b"one\r\n\x1b[31mtwo\x1b[0m\r\nthr\xffee\x07\r\n")
    last = "thr\N{REPLACEMENT CHARACTER}ee\\x07\n"
    assert run("logs", "--console", "web") == f"one\ntwo\n{last}"
    assert run("logs", "--console", "-n", "2", "web") == f"two\n{last}"
    assert run("logs", "--console", "-n", "0", web.name) == ""
