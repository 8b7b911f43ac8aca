"""The end of a guest, explained by its launch script's report and files."""

from __future__ import annotations

import select
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from postroj import process
from postroj.container.boot import launch
from postroj.container.failure import ending
from postroj.container.spec import GuestSpec
from postroj.errors import GuestError, GuestLost

if TYPE_CHECKING:
    from collections.abc import Iterator

SPEC = GuestSpec(layers=(Path("/image"),))
FORGED = "Container postroj-ab12 terminated by signal KILL."
PASTA = "the guest was ended, since pasta, its network, had ended"


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[process.Child]]:
    """Scripts that were started, to be ended."""
    monkeypatch.setattr(ending, "AFTERMATH", 0.3)
    started: list[process.Child] = []
    yield started
    for child in started:
        process.kill_group(child)
        assert child.stdout
        child.stdout.close()


@pytest.mark.parametrize(
    ("script", "killed", "status", "kind", "message"),
    [
        ("echo ended; sleep 60", False, 0, GuestLost, "the guest shut down"),
        ("echo ended; sleep 60", False, 137, GuestLost, "the guest shut down"),
        ("echo ended; sleep 60", True, 1, GuestError, "the guest was ended"),
        ("sleep 60", False, launch.REBOOTED, GuestLost, "the guest rebooted"),
        ("sleep 60", False, None, GuestError, "the guest was ended"),
        ("sleep 60", False, 0, GuestError, "the guest was ended"),
        ("exit 65", False, 137, GuestError, "the guest was ended"),
        ("exit 63", False, None, GuestError, PASTA),
        ("kill -KILL $$", False, launch.REBOOTED, GuestError, "the guest was ended"),
    ],
)
def test_explain_blames_a_guest_only_for_a_reported_end(
    tmp_path: Path,
    children: list[process.Child],
    script: str,
    killed: bool,
    status: int | None,
    kind: type[GuestError],
    message: str,
) -> None:
    (tmp_path / "console").write_text(FORGED)
    if killed:
        (tmp_path / launch.KILLED).touch()
    if status is not None:
        (tmp_path / launch.STATUS).write_text(f"{status}\n")
    stdio = (process.DEVNULL, process.PIPE, process.DEVNULL)
    child = process.launch(["sh", "-c", script], stdio=stdio, env=process.environment())
    children.append(child)
    if "sleep" not in script:
        assert process.wait(child, 60) is not None
    elif "echo" in script:
        assert child.stdout
        assert select.select([child.stdout], [], [], 60)[0]
    error = ending.explain(child, SPEC, tmp_path, "its output")
    assert (type(error), error.message, error.evidence) == (kind, message, FORGED)
