"""The end of a machine, explained by its console and by qemu's reason."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from postroj import process
from postroj.errors import GuestError, GuestLost
from postroj.machine import ending, qemu

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ENDED = "the guest ended before it was ready"
INIT = qemu.SCRIPT.with_name("init.sh").read_text()
PANIC = "[  1.5] Kernel panic - not syncing: VFS: Unable to mount root fs\r\n[  1.6] CPU: 0\r\n"


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[process.Child]]:
    """Scripts that were started, to be ended."""
    monkeypatch.setattr("postroj.container.failure.ending.AFTERMATH", 0.3)
    monkeypatch.setattr(ending, "PATIENCE", 0.3)
    started: list[process.Child] = []
    yield started
    for child in started:
        process.kill_group(child)
        assert child.stdout
        child.stdout.close()


def launch(children: list[process.Child], text: str) -> process.Child:
    stdio = (process.DEVNULL, process.PIPE, process.DEVNULL)
    child = process.launch(["sh", "-c", text], stdio=stdio, env=process.environment())
    children.append(child)
    if "sleep 60" not in text and "sleep 1" not in text:
        assert process.wait(child, 60) is not None
    return child


@pytest.mark.parametrize(
    ("script", "reason", "console", "kind", "message"),
    [
        ("echo ended; exit 0", "guest-shutdown", "", GuestLost, "the guest shut down"),
        ("sleep 60", "guest-reset", "", GuestLost, "the guest rebooted"),
        (
            *("sleep 60", "guest-reset", PANIC, GuestLost),
            "the guest's kernel panicked: VFS: Unable to mount root fs",
        ),
        ("sleep 60", "", "", GuestError, "the guest was ended"),
        ("sleep 60", "killed", "", GuestError, "the guest was ended"),
        ("exit 67", "killed", "", GuestError, "the guest was ended"),
        ("exit 67", "killed", PANIC, GuestError, "the guest was ended"),  # it may print anything
        ("exit 67", "guest-reset", "", GuestError, "the guest was ended"),
        ("exit 67", "guest-shutdown", "", GuestError, "the guest was ended"),
        (
            *("exit 63", "", "", GuestError),
            "the guest was ended, since passt, its network, had ended",
        ),
    ],
)
def test_explain_blames_a_guest_only_for_its_own_end(
    tmp_path: Path,
    children: list[process.Child],
    script: str,
    reason: str,
    console: str,
    kind: type[GuestError],
    message: str,
) -> None:
    (tmp_path / "console").write_text(console)
    if reason:
        (tmp_path / qemu.ENDING).write_text(f"{reason}\n")
    error = ending.explain(launch(children, script), tmp_path, "its output")
    assert (type(error), error.message) == (kind, message)
    assert not isinstance(error, GuestLost) or error.output == "its output"


@pytest.mark.parametrize(
    ("script", "reason", "console", "message"),
    [
        ("exit 61", "", "", qemu.DISK.failure),
        ("exit 63", "", "", qemu.NETWORK.failure),
        ("exit 64", "", PANIC, qemu.CGROUP.failure),
        ("exit 67", "killed", "", ENDED),
        ("sleep 60", "", "", ENDED),
        (
            *("echo ended; exit 0", "guest-reset", PANIC),
            f"{ENDED}: its kernel panicked: VFS: Unable to mount root fs",
        ),
        (
            *("echo ended; exit 0", "guest-shutdown"),
            "postroj: booted\r\npostroj: no module x.ko\r\npostroj: no virtio disk appeared\r\n",
            f"{ENDED}: no virtio disk appeared",
        ),
        (
            *("echo ended; exit 0", "guest-shutdown"),
            "postroj: booted\r\npostroj: no module x.ko\r\npostroj: no address\r\n",
            "the guest shut down before it was ready",
        ),
        (
            *("echo ended; exit 0", "guest-shutdown", "systemd[1]: Powering off.\r\n"),
            "the guest shut down before it was ready",
        ),
    ],
)
def test_explain_start(
    tmp_path: Path,
    children: list[process.Child],
    script: str,
    reason: str,
    console: str,
    message: str,
) -> None:
    (tmp_path / "console").write_text(console, newline="")
    if reason:
        (tmp_path / qemu.ENDING).write_text(f"{reason}\n")
    error = ending.explain_start(launch(children, script), tmp_path)
    assert error.message == message
    assert error.hint
    assert "\r" not in error.evidence


@pytest.mark.parametrize(
    ("console", "why"),
    [
        ("", ": its kernel has printed nothing"),
        ("\r\n", ": its kernel has printed nothing"),
        ("[  1.5] clocksource: failed\r\n", ": its kernel has not started its init"),
        ("postroj: booted\r\n", ""),
        ("[  1.5] clocksource: failed\r\npostroj: booted\r\nDebian GNU/Linux 12\r\n", ""),
    ],
)
def test_explain_lateness_tells_how_far_the_kernel_came(console: str, why: str) -> None:
    error = ending.explain_lateness(console, 60.0)
    assert error.message == f"the guest was not ready within 60 s{why}"
    assert error.hint.startswith("`--boot-timeout` gives it more time")
    assert error.hint.endswith(ending.IN_CONTAINER) is bool(why)
    assert error.evidence == console.replace("\r", "").strip()


def test_our_own_words_of_init_are_known() -> None:
    """What is only said is not why a machine ends."""
    fatal = [*re.findall(r"fail '([^']+)'", INIT), *re.findall(r'fail "([^"]+)"', INIT)]
    said = re.findall(r"echo ['\"](postroj: [^'\"$]+)", INIT)
    assert len(fatal) > 5
    assert len(said) >= 3
    for text in fatal:
        (found,) = ending.OURS.finditer(f"[  0.5] x\npostroj: {text}\n")
        assert found["why"] == text
    for text in said:
        if text != "postroj: ":  # as `fail` begins
            assert not ending.OURS.search(f"{text}x\n")


@pytest.mark.parametrize(
    ("script", "is_outside"), [("echo ended", False), ("exit 67", True), ("sleep 60", False)]
)
def test_came_from_outside(children: list[process.Child], script: str, is_outside: bool) -> None:
    assert ending.came_from_outside(launch(children, script)) is is_outside


def test_explain_waits_for_the_end_of_a_guest_that_shuts_down_slowly(
    tmp_path: Path, children: list[process.Child], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its sshd ends long before its kernel."""
    monkeypatch.setattr(ending, "PATIENCE", 20)
    (tmp_path / "console").touch()
    script = f"sleep 1; echo guest-shutdown >{tmp_path / qemu.ENDING}; echo ended"
    error = ending.explain(launch(children, script), tmp_path, "")
    assert (type(error), error.message) == (GuestLost, "the guest shut down")


def test_reason_of_a_machine_that_has_not_ended(tmp_path: Path) -> None:
    assert ending.reason(tmp_path) == ""
    (tmp_path / qemu.ENDING).write_text("guest-reset\n")
    assert ending.reason(tmp_path) == "guest-reset"
