"""Control groups of version 2: units in a guest are limited as on a real machine."""

from __future__ import annotations

import re
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

import pytest

from postroj.container.cgroup import group, hierarchies, processes, scope
from postroj.container.cgroup.hierarchies import V2
from postroj.container.spec import GuestSpec
from postroj.container.start import StartedGuest, start_guest
from postroj.model import NetworkMode
from postroj.prepare import obtain
from tests.support.cli import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def controllers(folder: Path, file: str = "cgroup.controllers") -> set[str]:
    return set((folder / file).read_text().split())


def hand_down(folder: Path, names: set[str], sign: str = "+") -> bool:
    with suppress(OSError):
        for name in names:
            (folder / "cgroup.subtree_control").write_text(f"{sign}{name}")
        return True
    return False


@pytest.fixture(scope="module")
def top() -> Iterator[Path]:
    """The top group, which hands down all controllers that it has, unless it is systemd's."""
    root = hierarchies.mounted().get(V2)
    if root is None:
        pytest.skip("this host has no cgroup v2")
    withheld = set() if scope.is_usable() else controllers(root)
    withheld -= controllers(root, "cgroup.subtree_control")
    with ExitStack() as stack:
        stack.callback(eventually, lambda: hand_down(root, withheld, "-"))
        assert hand_down(root, withheld)
        yield root


@pytest.fixture(scope="module")
def guest(top: Path, image: str) -> Iterator[StartedGuest]:
    with obtain(image) as stored:
        spec = GuestSpec(layers=stored.layers, network=NetworkMode.NONE)
        with start_guest(spec) as guest:
            yield guest


def test_no_process_keeps_controllers_from_the_units_of_a_guest(guest: StartedGuest) -> None:
    """Neither one of ours, nor at the next boot what the boot before has divided.

    What nspawn knows of, it hands down by itself on a host of version 2 alone.
    """
    for boots in ("1", "2"):
        payload = processes.freezer(guest.leader.read("cgroup"))
        assert payload
        boot, own = payload.parents[0], payload.parents[1]
        assert own in group.folders(guest.name)
        assert [path.name for path in own.iterdir() if path.name.isdecimal()] == [boots]
        handed = controllers(own)
        assert controllers(own, "cgroup.subtree_control") == controllers(boot) == handed
        assert hand_down(boot, handed)
        assert hand_down(payload, handed)
        if boots == "1":
            guest.reboot()
    assert guest.run(["systemctl", "is-system-running"]).text == "running"


LIMITED = {
    "pids": ("TasksMax=8", "for i in $(seq 20); do sleep 9 & done; kill $(jobs -p)", "fork: "),
    "memory": ("MemoryMax=64M", "perl -e '$x = q(x) x (200 << 20)'", "oom-kill"),
    "cpu": ("CPUQuota=20%", "perl -e '1 for 1..2e6'; cat $GROUP/cpu.stat", "nr_throttled [1-9]"),
}
"""By controller: a limit of a unit, a script that exceeds it, and a pattern of what it prints."""


@pytest.mark.parametrize("controller", LIMITED)
def test_limits_of_units_have_effect_in_a_guest(
    top: Path, guest: StartedGuest, controller: str
) -> None:
    if controller not in controllers(top):
        pytest.skip(f"this host has no controller {controller} of cgroup v2")
    limit, script, shown = LIMITED[controller]
    where = "GROUP=/sys/fs/cgroup$(sed -n s/^0:://p /proc/self/cgroup);"
    unit = ["systemd-run", "--wait", "--pipe", "--collect", f"--property={limit}"]
    done = guest.run([*unit, "--", "bash", "-c", f"{where} {script}"], ok=range(256), timeout=60)
    assert re.search(shown, done.output), done.output
