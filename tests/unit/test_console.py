"""Progress and log lines, off and on a terminal."""

from __future__ import annotations

import io
import logging
import os
import pty
import select
import sys
import termios
import threading
from typing import TYPE_CHECKING

import pytest

from postroj import console

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(autouse=True)
def restored_logger() -> Iterator[None]:
    logger = logging.getLogger("postroj")
    before = (logger.handlers, logger.propagate, logger.level)
    yield
    logger.handlers, logger.propagate, logger.level = before


def on_a_terminal(work: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> str:
    """Return what `work` writes to a stderr that is a terminal."""
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (24, 80))
    with os.fdopen(slave, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        work()
        terminal.flush()
        said = b""
        while select.select([master], [], [], 0)[0]:  # a terminal hands out a part at a time
            said += os.read(master, 1 << 16)
    os.close(master)
    return said.decode()


class TestProgress:
    def test_progress_is_one_line_without_a_terminal(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        console.set_up_logging(0)
        with console.progress("fetching") as bar:
            bar.describe("the first half")
            bar.reach(1, 2)
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err == "fetching ...\n"

    def test_progress_is_silent_with_quiet(self, capsys: pytest.CaptureFixture[str]) -> None:
        console.set_up_logging(-1)
        with console.progress("fetching"):
            pass
        assert capsys.readouterr().err == ""

    @pytest.mark.parametrize("unit", ["%", "B"])
    def test_progress_bar_disappears_from_a_terminal(
        self, unit: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def work() -> None:
            console.set_up_logging(0)
            with console.progress("fetching", unit) as bar:
                bar.reach(500_000, 0)  # as long as the total is not known
                bar.reach(500_000, 1_000_000)
                bar.describe("half")
                bar.reach(1_000_000, 1_000_000)
                bar.reach(0, 1_000_000)  # begun anew
                bar.describe("")

        said = on_a_terminal(work, monkeypatch)
        assert "fetching: half" in said
        assert "50%" in said
        assert "done" not in said

    def test_progress_has_no_bar_with_quiet(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def work() -> None:
            console.set_up_logging(-1)
            with console.progress("fetching") as bar:
                bar.reach(1, 2)
            logging.getLogger("postroj").warning("the only line")

        assert on_a_terminal(work, monkeypatch) == "the only line\r\n"


class TestBusy:
    def test_busy_lines_are_replaced_by_the_next(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def work() -> None:
            console.set_up_logging(0)
            console.busy("one", "two" * 40)
            console.busy("one", "two" * 40)
            console.busy("three", "")
            console.busy()
            console.busy("")

        said = on_a_terminal(work, monkeypatch)
        cut = ("two" * 40)[:79]
        assert said == f"one\r\n{cut}\x1b[1A\r\x1b[Jthree\r\x1b[J"

    def test_busy_lines_stay_below_log_lines(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def work() -> None:
            console.set_up_logging(0)
            console.busy("one", "two")
            logging.getLogger("postroj").info("said")
            console.busy()

        said = on_a_terminal(work, monkeypatch)
        away = "\x1b[1A\r\x1b[J"
        assert said == f"one\r\ntwo{away}said\r\none\r\ntwo{away}"

    def test_busy_shows_nothing_without_a_terminal(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        console.set_up_logging(0)
        console.busy("one")
        console.busy()
        assert capsys.readouterr().err == ""

    def test_busy_lines_that_stay_tell_their_age(self, monkeypatch: pytest.MonkeyPatch) -> None:
        now = [0.0]
        waiting, tick = threading.Event(), threading.Event()

        def sleep(seconds: float) -> None:
            waiting.set()
            tick.wait(10)
            tick.clear()

        def work() -> None:
            console.set_up_logging(0)
            console.busy("one")
            now[0] = 12.5
            console.busy("one", "two")
            waiting.wait(10)
            waiting.clear()
            now[0] = 14
            tick.set()
            waiting.wait(10)
            console.busy()
            tick.set()

        monkeypatch.setattr(console, "_BOARD", console._Board())
        monkeypatch.setattr("time.monotonic", lambda: now[0])
        monkeypatch.setattr("time.sleep", sleep)
        said = on_a_terminal(work, monkeypatch)
        away = "\x1b[1A\r\x1b[J"
        assert said == (f"one\r\x1b[Jone … 12 s\r\ntwo{away}one … 14 s\r\ntwo … 1 s{away}")

    def test_busy_shows_nothing_on_a_dumb_terminal(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def work() -> None:
            console.set_up_logging(0)
            console.busy("one")
            with console.progress("fetching"):
                pass

        monkeypatch.setenv("TERM", "dumb")
        assert on_a_terminal(work, monkeypatch) == "fetching ...\r\n"


class TestLogging:
    @pytest.mark.parametrize(
        ("verbosity", "seen"),
        [(-1, ["warning"]), (0, ["warning", "info"]), (1, ["warning", "info", "debug"])],
    )
    def test_logging_levels_follow_verbosity(
        self, verbosity: int, seen: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        console.set_up_logging(verbosity)
        logger = logging.getLogger("postroj.anything")
        for level in ("warning", "info", "debug"):
            getattr(logger, level)(level)
        captured = capsys.readouterr()
        assert (captured.out, captured.err.split()) == ("", seen)

    def test_logging_set_up_twice_prints_once(self, capsys: pytest.CaptureFixture[str]) -> None:
        console.set_up_logging(0)
        console.set_up_logging(0)
        logging.getLogger("postroj").info("once")
        assert capsys.readouterr().err == "once\n"


class TestColour:
    @pytest.mark.parametrize(
        ("terminal", "variables", "wanted"),
        [
            (True, {}, True),
            (False, {}, False),
            (True, {"TERM": "dumb"}, False),
            (True, {"NO_COLOR": "1"}, False),
            (False, {"FORCE_COLOR": "1"}, True),
            (False, {"FORCE_COLOR": "0"}, False),
            (False, {"FORCE_COLOR": ""}, False),
            (True, {"FORCE_COLOR": "1", "TERM": "dumb"}, True),
            (True, {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
        ],
    )
    def test_colour_by_environment(
        self,
        terminal: bool,
        variables: dict[str, str],
        wanted: bool,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        for name in ("TERM", "NO_COLOR", "FORCE_COLOR"):
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        stream = io.StringIO()
        monkeypatch.setattr(stream, "isatty", lambda: terminal)
        assert console.colour_wanted(stream) is wanted

    def test_colour_is_not_wanted_in_a_file(self) -> None:
        assert not console.colour_wanted(io.StringIO())

    @pytest.mark.parametrize(("no_colour", "wanted"), [(None, True), ("", True), ("1", False)])
    def test_colour_is_wanted_on_a_terminal(
        self, no_colour: str | None, wanted: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if no_colour is None:
            monkeypatch.delenv("NO_COLOR", raising=False)
        else:
            monkeypatch.setenv("NO_COLOR", no_colour)
        master, slave = pty.openpty()
        with os.fdopen(slave, "w") as terminal:
            assert console.colour_wanted(terminal) is wanted
        os.close(master)


def test_log_hides_the_secrets_of_urls(capsys: pytest.CaptureFixture[str]) -> None:
    console.set_up_logging(1)
    logging.getLogger("postroj.process").debug(
        "+ %s", "sh -c 'deb http://a:b@c/d sid' http://e?f=g"
    )
    assert capsys.readouterr().err == "+ sh -c 'deb http://***@c/d sid' http://e?f=***\n"
