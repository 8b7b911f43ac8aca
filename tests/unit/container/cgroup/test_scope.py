"""Where systemd runs the host: the command lines that make a scope and register a guest."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from postroj import process
from postroj.container.cgroup import group, hierarchies, processes, scope
from postroj.container.held import Held
from postroj.container.limits import Asked, Limits
from postroj.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAME = "postroj-01234567"
LIMITS = Limits(memory=1 << 30, disk=1 << 29, processes=99)


@pytest.mark.parametrize(
    ("booted", "kinds", "usable"),
    [
        (True, {hierarchies.V2}, True),
        (True, {hierarchies.V2, hierarchies.TRACKING, "memory"}, True),
        (True, {hierarchies.TRACKING, "memory"}, False),
        (False, {hierarchies.V2}, False),
    ],
)
def test_is_usable_with_systemd_and_cgroup_v2(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    booted: bool,
    kinds: set[str],
    usable: bool,
) -> None:
    monkeypatch.setattr(scope, "BOOTED", tmp_path if booted else tmp_path / "none")
    monkeypatch.setattr(hierarchies, "mounted", lambda: dict.fromkeys(kinds, tmp_path))
    assert scope.is_usable() is usable


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder stands in for the hierarchy."""
    monkeypatch.setattr(hierarchies, "mounted", lambda: {hierarchies.V2: tmp_path})
    return tmp_path


def test_argv_of_a_scope_runs_a_command_in_a_group_below_it(root: Path) -> None:
    argv = scope.argv(NAME, LIMITS, 253)
    folder = root / "machine.slice" / f"{NAME}.scope"
    (folder / "helpers").parent.mkdir(parents=True)
    inside = argv[argv.index("--") + 1 :]
    assert process.run([*inside, "echo", "$HOME"]).text == "$HOME"
    assert (folder / group.HELPERS / "cgroup.procs").read_text() == "0\n"


def test_argv_of_a_scope_has_the_limits_of_the_guest(root: Path) -> None:
    argv = scope.argv(NAME, LIMITS, 253)
    assert argv[:2] == ["systemd-run", "--scope"]
    assert {"--slice=machine", f"--unit={NAME}", "--collect"} <= set(argv)
    assert {f"--property=MemoryMax={1 << 30}", "--property=MemorySwapMax=0"} <= set(argv)
    assert "--property=TasksMax=99" in argv
    assert "CPUQuota" not in " ".join(argv)
    asked = Asked(cpus=0.015).instead_of(LIMITS)
    assert "--property=CPUQuota=1.5%" in scope.argv(NAME, asked, 253)


def test_argv_of_a_scope_forbids_to_expand_variables_where_that_is_an_option() -> None:
    assert "--expand-environment=no" in scope.argv(NAME, LIMITS, 254)
    assert not [word for word in scope.argv(NAME, LIMITS, 253) if "expand" in word]


def test_register_and_unregister_argv() -> None:
    words = ["RegisterMachine", "sayssus", NAME, "0", "postroj", "container", "4711", "/"]
    assert scope.register_argv(NAME, 4711)[-8:] == words
    assert scope.unregister_argv(NAME)[-3:] == ["UnregisterMachine", "s", NAME]


@pytest.fixture
def leader() -> Iterator[Held]:
    with subprocess.Popen(["sleep", "60"]) as child:
        held = Held(child.pid)
        yield held
        held.kill()


@pytest.mark.parametrize(("again", "calls"), [(False, 1), (True, 2)])
def test_register_survives_the_refusal_of_machined(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, leader: Held, again: bool, calls: int
) -> None:
    ran: list[list[str]] = []

    def refuse(argv: list[str], **_: float) -> None:
        ran.append(argv)
        raise CommandError(argv, 1, "no")

    monkeypatch.setattr(process, "run", refuse)
    monkeypatch.setattr(scope, "BUS", tmp_path / "none")
    scope.register(NAME, leader, again=again)
    assert not ran
    monkeypatch.setattr(scope, "BUS", tmp_path)
    scope.register(NAME, leader, again=again)
    assert len(ran) == calls


def test_register_takes_back_a_leader_that_has_ended_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, leader: Held
) -> None:
    """Its PID may have been given to a service of the host, which machined would then end."""
    ran: list[list[str]] = []

    def run(argv: list[str], **_: float) -> None:
        ran.append(argv)
        leader.kill()
        assert leader.has_ended(5)

    monkeypatch.setattr(process, "run", run)
    monkeypatch.setattr(scope, "BUS", tmp_path)
    scope.register(NAME, leader)
    assert ran == [scope.register_argv(NAME, leader.pid), scope.unregister_argv(NAME)]


def test_group_of_a_scope_is_left_to_systemd(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who removes them keeps it from hearing that the scope is empty."""
    mounts = {hierarchies.V2: hierarchies.Mount(tmp_path, "/")}
    monkeypatch.setattr(hierarchies, "mounts", lambda: mounts)
    made = group.Group(NAME, LIMITS, {})
    scoped = tmp_path / "machine.slice" / f"{NAME}.scope"
    scoped.mkdir(parents=True)
    assert scoped in group.folders(NAME)
    made.remove()
    assert scoped.is_dir()
    line = f"0::/machine.slice/{NAME}.scope/payload/init.scope\n"
    assert processes.joins(line, NAME) == [scoped / "payload/init.scope/cgroup.procs"]
