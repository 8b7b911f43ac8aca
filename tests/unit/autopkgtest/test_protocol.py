"""What is asked, what is answered, and in which order the testbed is used."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from postroj.autopkgtest.protocol import serve
from postroj.errors import GuestError, PostrojError

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass
class Bed:
    """A testbed that only notes what it was asked."""

    asked: list[object] = field(default_factory=list)
    error: Exception | None = None
    capabilities: Sequence[str] = ("revert", "reboot")
    execute_argv: Sequence[str] = ("/opt/a b/python", "-m", "enter", "guest")

    def open(self) -> str:
        return self._note("open")

    def close(self) -> None:
        self._note("close")

    def revert(self) -> str:
        return self._note("revert")

    def reboot(self, *, by_test: bool) -> None:
        self._note("reboot", by_test)

    def copy_in(self, source: str, target: str) -> None:
        self._note("in", source, target)

    def copy_out(self, source: str, target: str) -> None:
        self._note("out", source, target)

    def shell(self, folder: str, variables: Sequence[str]) -> None:
        self._note("shell", folder, *variables)

    def explain(self) -> None:
        self._note("explain")

    def _note(self, *words: object) -> str:
        self.asked.append(words if len(words) > 1 else words[0])
        if self.error:
            raise self.error
        return "/scratch"


def ask(bed: Bed, *requests: str) -> list[str]:
    """Return the answers to requests, without the greeting and the answer to `quit`."""
    said: list[str] = []
    serve(bed, [f"{request}\n" for request in (*requests, "quit")], said.append)
    assert (said[0], said[-1]) == ("ok", "ok")
    return said[1:-1]


@pytest.mark.parametrize(
    ("request_", "answer", "asked"),
    [
        ("capabilities", "ok revert reboot", []),
        ("open", "ok /scratch", ["open"]),
        ("revert", "ok /scratch", ["revert"]),
        ("close", "ok", ["close"]),
        ("reboot", "ok", [("reboot", False)]),
        ("reboot prepare-only", "ok", [("reboot", True)]),
        ("print-execute-command", "ok /opt/a%20b/python,-m,enter,guest", []),
        ("copydown /a%20b /c", "ok", [("in", "/a b", "/c")]),
        ("copyup /a/ /b/", "ok", [("out", "/a/", "/b/")]),
        ("shell /srv A=%22b%22", "ok", [("shell", "/srv", 'A="b"')]),
        ("auxverb_debug_fail", "ok", ["explain"]),
    ],
)
def test_request_is_carried_out_and_answered(
    request_: str, answer: str, asked: list[object]
) -> None:
    bed = Bed()
    assert ask(bed, request_) == [answer]
    assert bed.asked == [*asked, "close"]


def test_empty_request_gets_no_answer() -> None:
    assert ask(Bed(), "", "close") == ["ok"]


@pytest.mark.parametrize(
    "request_", ["hello", "open now", "copyup /a /b/", "copydown / ", "quit now"]
)
def test_request_that_is_not_in_the_protocol_ends_the_server(request_: str) -> None:
    with pytest.raises(PostrojError, match="a request that this server does not know") as raised:
        ask(Bed(), request_)
    assert raised.value.evidence == request_.strip()


def test_end_of_requests_without_quit_is_an_error() -> None:
    said: list[str] = []
    with pytest.raises(PostrojError, match="ended without closing its testbed"):
        serve(Bed(), ["open\n"], said.append)
    assert said == ["ok", "ok /scratch"]


def test_quit_needs_no_reader_of_its_answer() -> None:
    """autopkgtest closes its end of the pipe before it says so."""
    bed = Bed()
    said: list[str] = []

    def answer(text: str) -> None:
        if said:
            raise BrokenPipeError
        said.append(text)

    serve(bed, ["quit\n"], answer)
    assert bed.asked == ["close"]


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (TimeoutError(), "timeout"),
        (GuestError("no such file"), "copy-failed"),
        (FileNotFoundError("no such file"), "copy-failed"),
    ],
)
def test_copy_that_fails_is_answered(
    error: Exception, answer: str, caplog: pytest.LogCaptureFixture
) -> None:
    said: list[str] = []
    with pytest.raises(type(error)):  # of `close`
        serve(Bed(error=error), ["copyup /a /b\n", "quit\n"], said.append)
    assert said == ["ok", answer]
    assert ("no such file" in caplog.text) is (answer == "copy-failed")


def test_other_request_that_fails_ends_the_server() -> None:
    with pytest.raises(GuestError, match="did not boot"):
        ask(Bed(error=GuestError("did not boot")), "open")
