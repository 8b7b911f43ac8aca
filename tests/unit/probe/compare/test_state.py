"""The script that reads the state of a guest, run on this host with a fake systemctl."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from postroj import process
from postroj.probe.compare import state
from postroj.probe.startable import TYPES

if TYPE_CHECKING:
    from pathlib import Path


def test_the_state_has_units_of_every_type_that_is_started(tmp_path: Path) -> None:
    systemctl = tmp_path / "systemctl"
    systemctl.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    systemctl.chmod(0o755)
    env = process.environment({"PATH": f"{tmp_path}:{process.search_path()}"})
    argv = ["sh", "-c", state.SCRIPT, "sh", "Id", "echo rules", "echo lists"]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=True)
    units, _, _, shell, rules, lists = done.stdout.split("\0")
    verb, properties, _, *patterns = units.split()
    assert (verb, properties) == ("show", "--property=Id")
    assert patterns == [f"*{suffix}" for suffix in TYPES]
    assert shell.split()[0] == "0"
    assert (rules, lists) == ("rules\n", "lists\n")
