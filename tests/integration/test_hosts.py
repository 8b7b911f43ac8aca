"""The same on other hosts: with systemd as PID 1, D-Bus and machined, from Debian 11 to unstable.

Each is itself a guest, see `tests.support.outer`. This host has neither of them.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from postroj.container.cgroup import scope
from tests.support import debs, outer
from tests.support.cli import DEFAULT_IMAGE, eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future
    from pathlib import Path

    from postroj.process import Completed
    from tests.support.outer import Outer

EVERY = range(256)
STALE = "postroj-0000dead"
KILL = """
for file in /proc/[0-9]*/cmdline; do
    pid=$(basename "$(dirname "$file")")
    if tr '\\0' ' ' < "$file" | grep -q ' -m postro[j] run '; then kill -KILL "$pid"; fi
done 2>/dev/null
exit 0
"""
LEFT = "grep -l postroj- /proc/[0-9]*/mounts; losetup --list --noheadings | grep deleted; exit 0"


@dataclass(frozen=True)
class Kind:
    """A host, and what is different there."""

    release: str
    systemd: str
    unified: bool = True
    network: str = "private"
    registers: bool = True
    end: str = "terminate"
    """What `machinectl` can do to a guest."""


KINDS = {
    "247": Kind("debian-bullseye", "247", network="host"),  # Debian 11 has no pasta
    "252": Kind("debian-bookworm", "252"),
    "252-cgroup-v1": Kind("debian-bookworm", "252", unified=False, registers=False),
    "257": Kind("debian-trixie", "257"),
    # Version 262 signals the process that has registered a guest, which is no more.
    "newest": Kind("debian-sid", "26", end="poweroff"),
}


@dataclass(frozen=True)
class Host:
    """A booted one."""

    kind: Kind
    outer: Outer

    def run(self, *words: str, ok: range = range(1)) -> str:
        """Run a command; what it prints."""
        return self.outer.run(*words, ok=ok).text

    def postroj(self, command: str, *words: str, ok: range = range(1)) -> Completed:
        """Run a command of postroj that boots guests."""
        options = ("--image", DEFAULT_IMAGE, "--network", self.kind.network)
        return self.outer.postroj(command, *options, *words, ok=ok)

    def guests(self) -> list[str]:
        """Those that postroj knows of."""
        found = json.loads(self.outer.postroj("ps", "--json").text)
        return [guest["name"] for guest in found if guest["leader"]]

    def machines(self) -> list[str]:
        """Those that machined knows of."""
        lines = self.run("machinectl", "list", "--no-legend", "--no-pager").splitlines()
        return [line.split()[0] for line in lines if line.startswith("postroj-")]

    @contextmanager
    def sleeping(self) -> Iterator[tuple[str, Future[Completed]]]:
        """Have a guest in which a command runs for long: its name, and how postroj ends."""
        with ThreadPoolExecutor(1) as pool:
            future = pool.submit(self.postroj, "run", "--", "sleep", "1000", ok=EVERY)
            try:
                assert eventually(lambda: future.done() or self.guests(), seconds=30)
                (name,) = self.guests()
                sleeps = ("sh", "-c", "grep -qsx sleep /proc/[0-9]*/comm")
                assert eventually(
                    lambda: self.outer.postroj("exec", name, "--", *sleeps, ok=EVERY).status == 0,
                    seconds=30,
                )
                yield name, future
            finally:
                for name in self.guests():
                    self.outer.postroj("stop", name)


@pytest.fixture(scope="module", params=KINDS)
def host(request: pytest.FixtureRequest, pulled: Callable[[str], str]) -> Iterator[Host]:
    kind = KINDS[request.param]
    pulled(DEFAULT_IMAGE)
    with outer.booted(pulled(kind.release), unified=kind.unified) as booted:
        yield Host(kind, booted)


def test_host_has_the_systemd_and_hierarchy_of_its_name(host: Host) -> None:
    assert host.run("systemctl", "--version").startswith(f"systemd {host.kind.systemd}")
    assert host.run("cat", "/proc/1/comm") == "systemd"
    filesystem = host.run("stat", "--file-system", "--format=%T", "/sys/fs/cgroup")
    assert (filesystem == "cgroup2fs") is host.kind.unified


def test_run_on_this_host_passes_the_status_on(host: Host) -> None:
    done = host.postroj("run", "--", "sh", "-c", "systemctl is-system-running; exit 7", ok=EVERY)
    assert (done.text, done.status) == ("running", 7)


def test_pkgprobe_on_this_host_installs_and_reboots(host: Host, tmp_path: Path) -> None:
    deb = debs.service(tmp_path, "hosted", "/bin/sleep 1000")
    host.outer.guest.run(["sh", "-c", "cat > /tmp/hosted.deb"], stdin=deb.read_bytes(), timeout=10)
    steps = ("--steps=install,reboot", "--settle=0", "--check-unit=hosted")
    done = host.postroj("pkgprobe", "--package=/tmp/hosted.deb", *steps, "--json", ok=EVERY)
    assert done.status == 0, done.output
    (probe,) = json.loads(done.text)["probes"]
    assert [step["outcome"] for step in probe["steps"]] == ["pass"] * 2


def test_machinectl_and_ps_list_the_same_guests(host: Host) -> None:
    with host.sleeping() as (name, future):
        if not host.kind.registers:
            assert host.machines() == []
            return
        assert host.machines() == [name]
        status = host.run("machinectl", "status", "--no-pager", name)
        assert f"Unit: {name}.scope" in status
        assert "Debian GNU/Linux" in status
        shell = f"machinectl --quiet shell {name} /usr/bin/hostname"
        assert name in host.run("script", "--quiet", "--return", "--command", shell, "/dev/null")
        host.run("machinectl", host.kind.end, name)
        done = future.result(timeout=60)
        assert done.status in (125, 143)  # unless its shutdown ends the command before
    assert eventually(lambda: not host.machines() and not host.guests())


def test_limits_apply_to_the_scope_of_the_guest(host: Host) -> None:
    if not host.kind.registers:
        assert host.run("systemctl", "list-units", "--no-legend", "postroj-*") == ""
        return
    with host.sleeping() as (name, _):
        asked = ("--property=TasksMax", "--property=Slice", "--property=Delegate")
        shown = host.run("systemctl", "show", f"{name}.scope", *asked)
        assert set(shown.splitlines()) == {"TasksMax=4096", "Slice=machine.slice", "Delegate=yes"}


def test_restart_and_stop_work_on_a_guest_that_a_service_has_detached(host: Host) -> None:
    """systemd kills all that is left in the control group of a service when it ends."""
    service = ["systemd-run", "--wait", "--quiet", "--pipe", "--collect"]
    service += [f"--setenv={name}={value}" for name, value in outer.ENVIRONMENT.items()]
    options = ("--image", DEFAULT_IMAGE, "--network", host.kind.network)
    argv = ("python3", "-m", "postroj", "run", "--detach", "--name", "stays", *options)
    host.run(*service, "--", *argv)
    try:
        (name,) = host.guests()
        host.outer.postroj("restart", "stays")
        assert host.machines() == ([name] if host.kind.registers else [])
        leader = host.outer.postroj("exec", "stays", "--", "cat", "/proc/1/comm").text
        assert leader == "systemd"
    finally:
        host.outer.postroj("stop", "stays")
    assert eventually(lambda: not host.machines() and not host.guests())


def test_cpus_is_refused_and_devices_are_confined_on_this_host(host: Host) -> None:
    """Its control groups have no controllers: they are those of the host around it."""
    refused = host.postroj("run", "--cpus=1", "--", "true", ok=EVERY)
    assert refused.status == 125
    assert "cannot limit what was asked for: no cpu" in refused.output
    if host.kind.registers:
        script = "mknod /dev/it c 10 1; : < /dev/it"
        done = host.postroj("run", "--", "sh", "-c", script, ok=EVERY)
        assert "not permitted" in done.output


def test_machined_forgets_guests_whose_end_it_missed(host: Host) -> None:
    """Whatever its reason: here what it was told of is no guest, and lives on."""
    if not host.kind.registers:
        pytest.skip("machined knows of no guest on this host")
    host.run("systemd-run", "--quiet", "--unit=stale", "sleep", "1000")
    try:
        leader = host.run("systemctl", "show", "--value", "--property=MainPID", "stale")
        host.run(*scope.register_argv(STALE, int(leader)))
        host.run("mkdir", f"/run/postroj/{STALE}")
        assert host.machines() == [STALE]
        host.postroj("run", "--no-boot", "--", "true")
        assert host.machines() == []
    finally:
        host.run("systemctl", "stop", "stale")


def test_sweep_removes_what_a_killed_postroj_has_left(host: Host) -> None:
    with host.sleeping() as (name, future):
        host.run("sh", "-c", KILL)
        assert future.result(timeout=60).status == 137
        assert eventually(lambda: not host.machines(), seconds=5)
        scope = f"find /sys/fs/cgroup -name '{name}*' -path '*machine.slice*'"
        assert eventually(lambda: not host.run("sh", "-c", scope), seconds=5)
        # also loop devices of other tests, while their guests outlive an image that is gone
        assert eventually(lambda: not host.run("sh", "-c", LEFT), seconds=120)
    assert host.postroj("run", "--no-boot", "--", "true").status == 0
    assert host.run("ls", "/run/postroj") == ""  # but for the files of locks
