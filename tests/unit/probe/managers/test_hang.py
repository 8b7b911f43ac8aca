"""A hang names its tool and action as fields, so that another event can be blamed on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from postroj.probe.managers.apt.apt import Apt
from postroj.probe.managers.pacman.pacman import Pacman
from postroj.probe.managers.rpm.dnf import Dnf
from postroj.probe.managers.rpm.zypper import Zypper

if TYPE_CHECKING:
    from postroj.probe.managers.base import PackageManager

TOOLS = [(Apt(), "apt-get"), (Dnf(), "dnf"), (Zypper(), "zypper"), (Pacman(), "pacman")]
UNREACHABLE = "Curl error (6): Could not resolve host: mirror.example\n"


@pytest.mark.parametrize(("manager", "tool"), TOOLS, ids=[tool for _, tool in TOOLS])
@pytest.mark.parametrize("output", ["", UNREACHABLE], ids=["silent", "unreachable"])
def test_blame_timeout_has_no_action_before_the_tool_has_begun(
    manager: PackageManager, tool: str, output: str
) -> None:
    found = manager.blame_timeout(output, ["x"], 5)
    assert (found.tool, found.action) == (tool, "")


@pytest.mark.parametrize(
    ("manager", "output", "action"),
    [
        pytest.param(Apt(), "Setting up x (1.0) ...\n", "setting up x", id="apt"),
        pytest.param(Pacman(), "installing x...\n", "installing x", id="pacman"),
        pytest.param(
            Dnf(),
            "  Running scriptlet: x-1.0-1.noarch   1/1\n",
            "running a script of 'x'",
            id="dnf",
        ),
    ],
)
def test_blame_timeout_ends_its_sentence_with_the_action(
    manager: PackageManager, output: str, action: str
) -> None:
    found = manager.blame_timeout(output, ["x"], 5)
    assert found.action == action
    assert found.sentence == f"{found.tool} hung for 5 s while {action}"
