"""Guests with a kernel of their own, booted by qemu: under emulation, where there is no KVM.

Each boot takes long, so tests share a kept guest, which only the last ones end.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from postroj import guests, paths
from postroj.container.guest import FileKind
from postroj.container.held import Held
from postroj.errors import CommandTimeout, GuestError
from tests.support import debs
from tests.support.cli import POSTROJ, all_argv, argv_by_pid, eventually, postroj, start
from tests.support.terminal import converse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from postroj.container.guest import Guest

LONG = 900
"""Seconds for a command that boots: other tests run at the same time."""
KILLS = int(os.environ.get("POSTROJ_TEST_KILLS", "3"))
NAME = "machine"
pytestmark = pytest.mark.timeout(LONG)
SERVER = (
    "use IO::Socket::INET; my $s = IO::Socket::INET->new(LocalAddr => '127.0.0.1',"
    " LocalPort => 8422, Listen => 5, ReuseAddr => 1) or die; while (my $c = $s->accept)"
    " { print $c 'hello'; close $c }"
)
"""The smallest image has Perl, and nothing else that listens."""


@pytest.fixture(scope="module")
def kept(pulled: Callable[[str], str]) -> Iterator[str]:
    """A kept guest of the oldest Debian, by the name that the user chose."""
    argv = ("--vm", "--detach", "--name", NAME, "--memory", "768M", "--publish", "18422:8423")
    done = postroj("run", *argv, "--image", pulled("debian-bullseye"), timeout=LONG)
    assert done.stdout == f"{NAME}\n", done.stderr
    yield NAME
    postroj("stop", NAME)


@pytest.fixture(scope="module")
def guest(kept: str) -> Guest:
    """The same guest, as a probe sees it."""
    return guests.enter(kept)


def test_machine_has_a_kernel_of_its_own(guest: Guest) -> None:
    release = guest.run(["uname", "-r"]).text
    assert release != os.uname().release
    assert guest.run(["systemd-detect-virt"], ok=range(256)).text in ("qemu", "kvm")
    assert guest.system_state() == "running"
    assert guest.init() == "systemd"
    assert guest.lacking_capabilities() == frozenset()


def test_exec_in_a_machine_has_three_streams_and_an_exact_status(kept: str) -> None:
    script = "cat; echo problem >&2; exit 7"
    done = postroj("exec", kept, "sh", "-c", script, stdin=None, input="a\0b\n")
    assert (done.returncode, done.stdout, done.stderr) == (7, "a\0b\n", "problem\n")
    done = postroj("exec", kept, "sh", "-c", "kill -KILL $$")
    assert (done.returncode, done.stderr) == (137, "")
    words = ("--chdir", "/usr/share", "--setenv", "A=b  'c'", kept)
    done = postroj("exec", *words, "sh", "-c", 'pwd; echo "$A"; id -u; umask')
    assert done.stdout.splitlines() == ["/usr/share", "b  'c'", "0", "0022"]


def test_terminal_in_a_machine(kept: str) -> None:
    keys = [(b"# ", b"tty; echo $TERM $((40 + 2)); exit 9\n")]
    screen, status = converse([*POSTROJ, "exec", kept], keys)
    term = os.environ.get("TERM", "dumb").encode()
    assert re.search(rb"/dev/pts/\d+\r\n" + term + rb" 42\r\n", screen), screen
    assert status == 9


def test_every_byte_passes_through_a_machine(guest: Guest) -> None:
    data = random.randbytes(300_000)
    assert guest.run(["cat"], stdin=data).stdout == data


def test_secret_is_in_the_environment_and_in_no_command_line(guest: Guest) -> None:
    script = "echo $TOKEN; cat /proc/[0-9]*/cmdline | tr '\\0' ' '"
    lines = guest.run(["sh", "-c", script], secrets={"TOKEN": "xyzzy"}).text.split("\n", 1)
    assert lines[0] == "xyzzy"
    assert "xyzzy" not in lines[1]


def test_command_in_a_machine_ends_with_its_time(guest: Guest) -> None:
    with pytest.raises(CommandTimeout):
        guest.run(["sleep", "4711"], timeout=1)  # eight seconds without KVM
    assert eventually(lambda: not [one for one in guest.processes() if one.name == "sleep"])


def test_sockets_of_a_machine_and_connections_to_them(guest: Guest) -> None:
    argv = ["systemd-run", "--quiet", "--unit=hello", "perl", "-e", SERVER]
    guest.run(argv)

    def listeners() -> list[Any]:
        return [one for one in guest.sockets() if one.entry.port == 8422]

    assert eventually(listeners, 60)
    (found,) = listeners()
    assert (found.unit, found.process, found.entry.address) == (
        "hello.service",
        "perl",
        "127.0.0.1",
    )
    with guest.connect("127.0.0.1:8422", "stream", 10) as connection:
        assert connection.recv(100) == b"hello"
        assert connection.recv(100) == b""
    with pytest.raises(ConnectionRefusedError):
        guest.connect("127.0.0.1:8424", "stream", 10)
    with guest.connect("/run/systemd/private", "stream", 10):
        pass
    with pytest.raises(FileNotFoundError):
        guest.connect("/run/missing", "stream", 10)
    with guest.connect("127.0.0.1:8425", "dgram", 10) as datagrams:
        datagrams.send(b"")
        with pytest.raises(ConnectionRefusedError):
            datagrams.recv(10)


def test_port_of_a_machine_is_published(kept: str, guest: Guest) -> None:
    # passt of Debian 12 passes nothing on from a server that speaks first
    server = SERVER.replace("127.0.0.1", "0.0.0.0").replace("8422", "8423")
    server = server.replace("{ print", "{ <$c>; print")
    guest.run(["systemd-run", "--quiet", "perl", "-e", server])
    assert eventually(lambda: [one for one in guest.sockets() if one.entry.port == 8423], 60)
    with socket.create_connection(("127.0.0.1", 18422), 30) as connection:
        connection.sendall(b"who is there?\n")
        assert connection.recv(100) == b"hello"


def test_processes_of_a_machine(guest: Guest) -> None:
    before = time.monotonic()
    guest.run(["systemd-run", "--quiet", "--unit=sleeper", "sleep", "1000"])
    found = {one.unit: one for one in guest.processes()}
    first = guest.processes()[0]
    assert (first.pid, first.name, first.unit) == (1, "systemd", "")
    sleeper = found["sleeper.service"]
    assert (sleeper.name, sleeper.arguments) == ("sleep", ("/bin/sleep", "1000"))
    assert before - 2 < sleeper.started < time.monotonic() + 2
    assert not [one for one in guest.processes() if "postroj" in one.name]  # what serves it


def test_files_of_a_machine(guest: Guest) -> None:
    assert guest.read_file("/etc/os-release", 6) == b"PRETTY"
    assert guest.exists("/etc/passwd")
    assert not guest.exists("/run/answers")  # what serves it
    guest.run(["ln", "-s", "/etc/shadow", "/root/link"])
    found = {one.path: one for one in guest.walk(skip={"/usr", "/var", "/proc", "/sys", "/dev"})}
    assert found["/root/link"].kind is FileKind.LINK
    assert found["/usr"].kind is FileKind.FOLDER


def test_clock_of_a_machine_is_that_of_this_host(guest: Guest) -> None:
    before = time.time()
    there = float(guest.run(["date", "+%s.%N"]).text)
    assert before - 1 < there < time.time() + 1


def test_kernel_of_a_machine_has_modules_and_parameters(guest: Guest) -> None:
    guest.run(["modprobe", "dummy"])
    assert guest.exists("/sys/module/dummy")
    guest.run(["sh", "-c", "echo 17 >/proc/sys/vm/swappiness"])
    assert guest.run(["cat", "/proc/sys/vm/swappiness"]).text == "17"


def test_cp_logs_and_ps_with_a_machine(kept: str, tmp_path: Path) -> None:
    data = random.randbytes(100_000)
    (tmp_path / "file").write_bytes(data)
    assert postroj("cp", tmp_path / "file", f"{kept}:/root/file").returncode == 0
    assert postroj("cp", f"{kept}:/root/file", tmp_path / "back").returncode == 0
    assert (tmp_path / "back").read_bytes() == data
    assert "Linux version" in postroj("logs", kept).stdout
    assert "postroj: booted" in postroj("logs", "--console", kept).stdout
    (shown,) = [one for one in json.loads(postroj("ps", "--json").stdout) if one["given"] == kept]
    assert shown["kept"]
    assert shown["memory"] > 100 << 20


def test_full_disk_of_a_machine_is_the_guests_own_trouble(guest: Guest) -> None:
    script = "dd if=/dev/zero of=/full bs=1M 2>&1; rm /full; exit 0"
    assert "No space left on device" in guest.run(["sh", "-c", script], timeout=300).text
    assert guest.is_active("systemd-journald.service")


def test_commit_of_a_machine_is_refused(kept: str) -> None:
    done = postroj("commit", kept, "mine")
    assert done.returncode == 2
    assert "has a kernel of its own, which this command does not support" in done.stderr


def test_machine_whose_kernel_panics(guest: Guest) -> None:
    with pytest.raises(GuestError):
        guest.run(["sh", "-c", "echo c >/proc/sysrq-trigger; sleep 100"], timeout=60)
    assert guest.has_ended(10)
    assert "Kernel panic - not syncing" in guest.console(65536)


def test_stop_leaves_nothing_of_a_machine(kept: str, guest: Guest) -> None:
    assert postroj("stop", "--time", "0", kept).returncode == 0
    assert kept not in postroj("ps").stdout
    name = guest.name.encode()
    assert eventually(lambda: not [argv for argv in all_argv() if name in argv])
    assert not (paths.state_dir() / guest.name).exists()


MODULE = """ExecStartPre=/sbin/modprobe dummy
ExecStartPre=/usr/bin/test -d /sys/module/dummy"""
PARAMETER = "/proc/sys/vm/swappiness"
BRINGS_UP = """#!/bin/sh
/lib/systemd/systemd-sysctl 50-probed.conf
systemctl daemon-reload
systemctl enable --quiet probed.service probed-sysctl.service
systemctl start probed.service probed-sysctl.service || :
"""
GOES = """#!/bin/sh
systemctl disable --now --quiet probed.service probed-sysctl.service || :
"""


def probed(folder: Path) -> Path:
    """Build a package with a service, a module and a parameter of the kernel."""
    service = debs.SERVICE.format(
        name="probed", kind="simple", command="/bin/sleep infinity", more=MODULE
    )
    sysctl = debs.SERVICE.format(
        name="probed-sysctl",
        kind="oneshot",
        command=f"/bin/sh -c 'test $(cat {PARAMETER}) = 17'",
        more="RemainAfterExit=yes",
    )
    condition = f"[Unit]\nConditionPathIsReadWrite={PARAMETER}\nAfter=systemd-sysctl.service"
    return debs.build(
        folder,
        "probed",
        files={
            "/usr/lib/systemd/system/probed.service": service,
            "/usr/lib/systemd/system/probed-sysctl.service": sysctl.replace("[Unit]", condition),
            "/usr/lib/sysctl.d/50-probed.conf": "vm.swappiness = 17\n",
            "/usr/lib/modules-load.d/probed.conf": "dummy\n",
        },
        scripts={
            "postinst": BRINGS_UP,
            "prerm": GOES,
            "postrm": "#!/bin/sh\nsystemctl daemon-reload || :\n",
        },
    )


def test_vm_auto_asks_a_machine_what_a_container_cannot_show(
    pulled: Callable[[str], str], tmp_path: Path
) -> None:
    """All at once, since each boot takes long: a package of ours, and daemons of Debian."""
    image = pulled("debian-bookworm")
    names = ("nftables", "chrony", "apparmor")
    script = (
        f"cd /tmp && apt-get update -qq && apt-get download -qq {' '.join(names)} && tar -c *.deb"
    )
    argv = [*POSTROJ, "run", "--image", image, "--no-boot", "--", "sh", "-c", script]
    tar = subprocess.run(argv, check=True, stdout=subprocess.PIPE, timeout=LONG).stdout
    subprocess.run(["tar", "-x", "-C", str(tmp_path)], input=tar, check=True)
    files = [probed(tmp_path), *sorted(tmp_path.glob("*_*_amd64.deb"))]
    packages = [word for path in files for word in ("--package", path)]
    times = ("--settle", "1", "--check-timeout", "5", "--steps", "install,reboot,remove")
    units = ("--start-unit", "nftables.service", "--start-unit", "apparmor.service")
    options = ("--image", image, *packages, "--no-recommends", *times, *units, "--json")
    done = postroj("pkgprobe", "--vm=auto", *options, timeout=LONG)
    (probe,) = json.loads(done.stdout)["probes"]
    assert (probe["outcome"], done.returncode) == ("pass", 0), done.stdout
    assert not probe["own_kernel"]
    steps = {step["name"]: step["checks"] for step in probe["steps"]}
    last = {step: {one["subject"]: one for one in checks} for step, checks in steps.items()}
    for unit in ("nftables", "chrony", "apparmor", "probed", "probed-sysctl"):
        for step in ("start", "reboot"):
            check = last[step][f"{unit}.service"]
            assert check["own_kernel"], done.stdout
            assert check["outcome"] == "pass", done.stdout
            assert "since it needs" in check["reason"]
    assert last["remove"]["probed.service"]["reason"] == "does not run, gone"


def test_machine_that_is_late_is_an_error_with_its_console(pulled: Callable[[str], str]) -> None:
    argv = ("--vm", "--boot-timeout", "0.2", "--image", pulled("debian-bookworm"), "true")
    done = postroj("run", *argv, timeout=LONG)
    assert done.returncode == 125
    # eight times as long without KVM
    assert re.search(r"the guest was not ready within (0\.2|1\.6) s", done.stderr), done.stderr


@pytest.mark.parametrize("number", range(KILLS))
def test_nothing_is_left_of_a_machine_that_was_killed(
    number: int, pulled: Callable[[str], str], state_dir: Path
) -> None:
    chance = random.Random(f"{number} {time.time()}")
    child = start("run", "--vm", "--image", pulled("debian-bookworm"), "sleep", "1000")
    assert eventually(lambda: [*processes_of(state_dir)], 60)
    time.sleep(chance.uniform(0, 12))
    victims = {child.pid: "postroj", **roles_of(state_dir)}
    pid = chance.choice(sorted(victims))
    os.kill(pid, signal.SIGKILL)
    try:
        assert child.wait(60) != 0, victims[pid]
    except subprocess.TimeoutExpired:
        pytest.fail(f"postroj outlived its {victims[pid]}")
    finally:
        child.kill()
        child.communicate()
    postroj("ps")
    assert eventually(lambda: not partial_state(state_dir), 20), (victims[pid], state_dir)


def processes_of(state_dir: Path) -> dict[int, list[str]]:
    """Return the processes of machines in a state directory, each with its command line."""
    lines = {pid: argv.decode(errors="replace") for pid, argv in argv_by_pid().items()}
    mark = f"{state_dir}/postroj-"
    return {pid: line.split("\0") for pid, line in lines.items() if mark in line}


def roles_of(state_dir: Path) -> dict[int, str]:
    """Return the processes without which there is no machine, each with its role."""
    found = {}
    for pid, words in processes_of(state_dir).items():
        role = words[0].rpartition("/")[2]
        numbers = Held(pid).numbers
        if (role == "sh" and numbers[-1] != 1) or (role == "ssh" and "-N" not in words):
            continue
        found[pid] = role
    return found


def partial_state(state_dir: Path) -> set[str]:
    """Return what is left in a state directory, and of processes and mounts that name it."""
    names = {path.name for path in state_dir.iterdir() if path.name not in (".lock", ".naming")}
    mounts = Path("/proc/self/mountinfo").read_text().count(str(state_dir))
    lines = [" ".join(words) for words in processes_of(state_dir).values()]
    return {*names, *lines, *(["mounts"] if mounts else [])}
