"""The gate at which a command waits for its control groups, for which files stand in."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from postroj import process
from postroj.container.cgroup.gate import Gate, UnjoinedError
from postroj.container.enter.nsenter import THROUGH_GATE

if TYPE_CHECKING:
    from pathlib import Path

SHOWS = "echo $$; ls -l /proc/self/fd"


def test_gate_lets_a_command_run_once_it_is_in_its_groups(tmp_path: Path) -> None:
    groups = [tmp_path / name for name in ("one", "two")]
    for group in groups:
        group.touch()
    with Gate(groups) as gate:
        done = process.run([*THROUGH_GATE, gate.path, "sh", "-c", SHOWS], admit=gate.admit)
    pid, *inherited = done.text.splitlines()
    assert [group.read_text() for group in groups] == [pid, pid]
    assert not [line for line in inherited if "/fd/" in line or gate.path in line]
    assert len([line for line in inherited if "pipe:" in line]) == 3


@pytest.mark.parametrize("missing", ["one", "two"])
def test_gate_stays_shut_if_a_group_does_not_accept_the_command(
    tmp_path: Path, missing: str
) -> None:
    groups = [tmp_path / name for name in ("one", "two")]
    for group in groups:
        if group.name != missing:
            group.touch()
    with Gate(groups) as gate, pytest.raises(UnjoinedError, match=missing):
        process.run([*THROUGH_GATE, gate.path, "touch", str(tmp_path / "run")], admit=gate.admit)
    assert not (tmp_path / "run").exists()
    assert not (tmp_path / missing).exists()


def test_gate_stays_shut_if_postroj_ends() -> None:
    """Whether the command was about to read then, or was not."""
    with Gate([]) as gate:
        argv = [*THROUGH_GATE, gate.path, "echo", "run"]
        with subprocess.Popen(argv, stdout=subprocess.PIPE) as child:
            os.close(gate._entry)
            assert child.communicate()[0] == b""
            gate._entry = os.open(os.devnull, os.O_WRONLY)
        assert child.returncode == 1
    assert process.run(argv, ok=range(1, 256)).stdout == b""
