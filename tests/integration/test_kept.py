"""Guests that live on: seen, entered and ended by other commands, and gone whoever is killed."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from postroj import paths
from postroj.container import roster
from postroj.container.cgroup import group, hierarchies, processes
from postroj.container.cgroup.hierarchies import TRACKING, V2
from postroj.probe.package.package_file import GUEST_DIR
from tests.support import debs
from tests.support.cli import NO_REPOSITORIES, POSTROJ, all_argv, eventually, postroj, start
from tests.support.terminal import converse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from postroj.container.held import Held

KEEPS = ("--settle", "0", "--keep", "--json", *NO_REPOSITORIES)
KEEP = """
import sys
from postroj.container.start import start_guest
from postroj.container.spec import GuestSpec
from postroj.prepare import obtain

image = sys.argv[1]
with obtain(image) as stored:
    spec = GuestSpec(layers=stored.layers, keep=True, image=image, purpose="a test")
    with start_guest(spec) as guest:
        pass
print(guest.name)
"""

NEST = """
for my $top (qw(/sys/fs/cgroup /sys/fs/cgroup/unified /sys/fs/cgroup/systemd)) {
    chdir $top or next;
    print scalar(grep { mkdir "nested" and chdir "nested" } 1..1500), "\\n";
    open PROCS, ">", "cgroup.procs" and syswrite PROCS, 0;
}
close STDOUT, close STDERR, exec "sleep", 1000 unless fork;
"""


def keep(image: str) -> str:
    """Boot a guest and leave it, in a process that ends; its name."""
    argv = [sys.executable, "-c", KEEP, image]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=120)
    return done.stdout.strip()


@pytest.fixture(autouse=True)
def nobody_stays(state_dir: Path) -> Iterator[None]:
    """End what a test that failed has kept, while its run directory is there."""
    yield
    postroj("stop", "--all")


@pytest.fixture
def kept(image: str, state_dir: Path) -> str:
    """A guest that nobody waits for."""
    return keep(image)


def guests() -> dict[str, dict[str, Any]]:
    """What `postroj ps` says, by name."""
    done = postroj("ps", "--json")
    assert done.returncode == 0, done.stderr
    return {guest["name"]: guest for guest in json.loads(done.stdout)}


def has_no_process(name: str) -> bool:
    return not any(name.encode() in argv for argv in all_argv()) and not processes.population(name)


def is_left(name: str, state_dir: Path) -> bool:
    """Whether anything that bears the name of a guest is there."""
    places = [state_dir / name, *group.folders(name)]
    return not has_no_process(name) or any(path.exists() for path in places)


def test_keep_lets_the_guest_live_until_stop(image: str, state_dir: Path, tmp_path: Path) -> None:
    postinst = "#!/bin/sh\necho cannot >&2\nexit 3\n"
    package = debs.build(tmp_path, "kept-fails", scripts={"postinst": postinst})
    done = postroj("pkgprobe", "-p", package, "-i", image, *KEEPS)
    assert done.returncode == 1
    (probe,) = json.loads(done.stdout)["probes"]
    name = probe["guest"]
    assert re.fullmatch(r"postroj-[0-9a-f]{8}", name)
    assert f"\n  kept: postroj exec {name} · postroj stop {name}\n" in done.stderr
    guest = guests()[name]
    assert (guest["image"], guest["kept"]) == (image, True)
    assert guest["purpose"] == "pkgprobe kept-fails_1.0_all.deb"
    assert 0 < guest["age"] < 300
    assert 1e6 < guest["memory"] < 500e6
    shown = postroj("ps").stdout.splitlines()
    assert shown[0].split() == ["NAME", "IMAGE", "AGE", "MEMORY", "KEPT", "PURPOSE"]
    assert shown[1].endswith("yes   pkgprobe kept-fails_1.0_all.deb")

    asked = postroj("exec", name, "--", "dpkg-query", "--show", "-f", "${Status}", "kept-fails")
    assert asked.stdout == "install ok half-configured"
    assert postroj("stop", name).returncode == 0
    assert not is_left(name, state_dir)
    again = postroj("stop", name)
    assert (again.returncode, again.stdout) == (2, "")
    assert f"no guest is named '{name}'" in again.stderr
    assert "hint: `postroj ps`" in again.stderr


def test_keep_with_many_images_keeps_every_guest(
    image: str, pulled: Callable[[str], str], state_dir: Path, tmp_path: Path
) -> None:
    package = debs.build(tmp_path, "kept-twice", files={"/srv/kept-twice": "x"})
    images = ("-i", image, "-i", pulled("debian-bookworm"))
    done = postroj("pkgprobe", "-p", package, *images, *KEEPS)
    assert done.returncode == 0, done.stderr
    told = {probe["guest"]: probe["image"] for probe in json.loads(done.stdout)["probes"]}
    assert {name: guest["image"] for name, guest in guests().items()} == told
    assert sorted(told.values()) == ["debian-bookworm", image]
    for name in told:
        assert postroj("exec", name, "cat", "/srv/kept-twice").stdout == "x"
    assert postroj("stop", "--all").returncode == 0
    assert not any(is_left(name, state_dir) for name in told)


def test_exec_passes_streams_and_status_of_a_kept_guest(kept: str, tmp_path: Path) -> None:
    done = postroj("exec", kept, "--", "sh", "-c", "hostname; echo err >&2; exit 42")
    assert (done.returncode, done.stdout, done.stderr) == (42, f"{kept}\n", "err\n")
    data = random.Random(4).randbytes(3_000_000)
    argv = [*POSTROJ, "exec", kept, "cat"]
    echoed = subprocess.run(argv, input=data, stdout=subprocess.PIPE, check=True).stdout
    assert hashlib.sha256(echoed).digest() == hashlib.sha256(data).digest()
    options = ("--chdir", "/var", "-e", "ONE=1")
    environ = {**os.environ, "SECRET": "of the host"}
    said = postroj("exec", *options, kept, "sh", "-c", "pwd; env", env=environ).stdout
    assert said.startswith("/var\n")
    assert {"ONE=1", "container=systemd-nspawn"} <= set(said.splitlines())
    assert "SECRET" not in said
    bounds = "grep -h CapBnd /proc/1/status /proc/self/status | uniq | wc -l"
    assert postroj("exec", kept, "sh", "-c", bounds).stdout == "1\n"
    assert postroj("exec", kept, "--", "sh", "-c", "kill -9 $$").returncode == 137
    shell = subprocess.run(
        [*POSTROJ, "exec", kept],
        input=b"echo $((40 + 2)); exit 9",
        check=False,
        stdout=subprocess.PIPE,
    )
    assert (shell.returncode, shell.stdout) == (9, b"42\n")
    lost = postroj("exec", "postroj-00000000", "true")
    assert lost.returncode == 125
    assert "hint: `postroj ps`" in lost.stderr


def test_shell_in_a_kept_guest_leaves_it_running(image: str, state_dir: Path) -> None:
    """Booted and entered on terminals which are hung up then."""
    screen, status = converse([sys.executable, "-c", KEEP, image], [])
    assert status == 0
    (name,) = re.findall(r"postroj-[0-9a-f]{8}", screen.decode())
    keys = [(b"# ", b"tty; echo $((40 + 2)); exit 9\n")]
    screen, status = converse([*POSTROJ, "exec", name], keys)
    assert re.search(rb"/dev/pts/\d+\r\n42\r\n", screen)
    assert status == 9
    assert guests()[name]["kept"]
    assert postroj("stop", "--all").returncode == 0
    assert not is_left(name, state_dir)


def test_stop_ends_one_of_two_kept_guests(image: str, state_dir: Path) -> None:
    one, two = keep(image), keep(image)
    assert guests().keys() == {one, two}
    refused = postroj("stop", one, "postroj-00000000")
    assert refused.returncode == 2
    assert guests().keys() == {one, two}
    assert postroj("stop", one).returncode == 0
    assert not is_left(one, state_dir)
    assert postroj("exec", two, "systemctl", "is-system-running").stdout == "running\n"
    assert postroj("stop", two, two).returncode == 0
    assert not is_left(two, state_dir)
    assert guests() == {}
    assert [path.name for path in state_dir.iterdir()] == [".lock"]


def script(name: str) -> int:
    return required(roster.script(name)).pid


def leader(name: str) -> int:
    return required(roster.leader(name)).pid


def around(name: str) -> int:
    """PID of `unshare`, which is the parent of the launch script."""
    return parent(required(roster.script(name)))


def nspawn(name: str) -> int:
    return parent(required(roster.leader(name)))


def required(held: Held | None) -> Held:
    assert held
    return held


def parent(held: Held) -> int:
    return int(held.read("stat").rpartition(")")[2].split()[1])


def pasta(name: str) -> int:
    names = {pid: Path(f"/proc/{pid}/comm").read_text() for pid in processes.population(name)}
    return next(pid for pid, comm in names.items() if comm.startswith(("pasta", "passt")))


@pytest.mark.parametrize("victim", [around, script, nspawn, leader, pasta])
def test_kept_guest_leaves_nothing_when_a_part_of_it_is_killed(
    image: str, state_dir: Path, victim: Callable[[str], int]
) -> None:
    name = keep(image)
    os.kill(victim(name), signal.SIGKILL)
    assert eventually(partial(has_no_process, name))
    assert eventually(lambda: not guests())
    assert postroj("exec", name, "true").returncode == 125
    assert postroj("run", "--no-boot", "--", "true").returncode == 0
    assert not is_left(name, state_dir)
    assert name not in Path("/proc/self/mountinfo").read_text()


def test_kept_guest_outlives_the_control_groups_in_which_it_was_started(
    image: str, state_dir: Path
) -> None:
    """A logind that ends a session kills them, and so does a service that is stopped."""
    roots = hierarchies.mounted()
    session = [roots[kind] / f"session-{os.getpid()}" for kind in (V2, TRACKING) if kind in roots]
    join = "".join(f"echo 0 >{group}/cgroup.procs && " for group in session)
    script = KEEP.replace("keep=True", "keep=True, private_users=True")
    argv = ["sh", "-c", f'{join} exec "$@"', "sh", sys.executable, "-c", script, image]
    for group_ in session:
        group_.mkdir()
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=120)
        assert [(group_ / "cgroup.procs").read_text() for group_ in session] == [""] * len(session)
    finally:
        for group_ in session:
            group_.rmdir()
    name = done.stdout.strip()
    assert {around(name), pasta(name), nspawn(name)} <= processes.population(name).keys()


def test_ps_stop_and_start_with_a_guest_that_nests_groups_deeper_than_paths_reach(
    kept: str, image: str, state_dir: Path
) -> None:
    assert "1500" in postroj("exec", kept, "--", "perl", "-e", NEST).stdout.split()
    assert any(place.count("/nested") == 1500 for place in processes.population(kept).values())
    assert postroj("run", "--image", image, "--", "true").returncode == 0
    assert kept in guests()
    assert postroj("stop", kept).returncode == 0
    assert not is_left(kept, state_dir)


def test_kept_guest_that_powers_off_is_not_listed_by_ps(kept: str, state_dir: Path) -> None:
    postroj("exec", kept, "systemctl", "poweroff")
    assert eventually(lambda: not guests())
    assert eventually(partial(has_no_process, kept))
    assert postroj("stop", kept).returncode == 2


def test_keep_after_a_reboot_has_the_package_that_was_fetched(
    image: str, state_dir: Path, tmp_path: Path
) -> None:
    package = debs.build(tmp_path, "kept-fetched", files={"/srv/kept-fetched": "x"})
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/{package.name}"
        probed = ("pkgprobe", "-p", url, "-i", image, *KEEPS)
        done = postroj(*probed, env={**os.environ, "no_proxy": "127.0.0.1"})
        server.shutdown()
    assert done.returncode == 0, done.stderr
    name = json.loads(done.stdout)["probes"][0]["guest"]
    (fetched,) = (paths.cache_dir() / "downloads").glob(f"*/{package.name}")
    assert fetched.parent.name not in postroj("prune", "--dry-run").stdout
    before = guests()[name]["leader"]
    # not by `reboot`, which asks logind first and may wait for it
    postroj("exec", name, "systemctl", "start", "--no-block", "reboot.target")
    assert eventually(lambda: guests()[name]["leader"] not in (None, before), 60)
    ready = ("exec", name, "systemctl", "is-system-running", "--wait")
    assert eventually(lambda: postroj(*ready).stdout == "running\n", 30)
    script = f"cat /srv/kept-fetched; dpkg-deb --field {GUEST_DIR}/{package.name} Package"
    assert postroj("exec", name, "sh", "-c", script).stdout == "xkept-fetched\n"
    assert postroj("stop", name).returncode == 0
    assert not is_left(name, state_dir)
    assert not fetched.parent.exists()


def test_sweep_and_prune_do_not_touch_a_kept_guest(kept: str, image: str) -> None:
    postroj("run", "--no-boot", "--", "true")
    listed = postroj("prune", "--dry-run")
    assert kept not in listed.stdout + listed.stderr
    refused = postroj("remove", image)
    assert refused.returncode == 4
    assert "is in use" in refused.stderr
    assert postroj("exec", kept, "true").returncode == 0


def test_stop_never_acts_on_a_forged_state_file(kept: str, state_dir: Path) -> None:
    """Neither in the directory of a guest nor in one of which nobody holds the lock."""
    stranger = subprocess.Popen(["sleep", "1000"])
    try:
        lies = json.dumps({"leader": stranger.pid, "script": stranger.pid, "kept": True})
        (state_dir / kept / "guest.json").write_text(lies)
        dead = state_dir / "postroj-00000000"
        dead.mkdir()
        (dead / "guest.json").write_text(lies)
        (dead / "lock").touch()
        told = guests()
        assert told.keys() == {kept}
        assert told[kept]["leader"] != stranger.pid
        assert (told[kept]["image"], told[kept]["began"]) == ("", None)
        assert postroj("exec", kept, "cat", "/proc/1/comm").stdout == "systemd\n"
        assert postroj("stop", dead.name).returncode == 2
        assert postroj("stop", kept).returncode == 0
        assert not is_left(kept, state_dir)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_stop_ends_the_guest_of_a_running_command_which_says_so(
    image: str, state_dir: Path
) -> None:
    process = start("run", "-i", image, "--", "sleep", "986", stderr=subprocess.PIPE)
    assert eventually(lambda: b"sleep\x00986\x00" in all_argv(), 60)
    ((name, guest),) = guests().items()
    assert (guest["kept"], guest["purpose"]) == (False, "run sleep 986")
    assert postroj("stop", "--all").returncode == 0
    assert name in guests()
    assert postroj("stop", name).returncode == 0
    assert not is_left(name, state_dir)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 125
    assert b"the guest was ended" in said


def test_keep_keeps_nothing_when_interrupted_before_the_verdict(
    image: str, state_dir: Path, tmp_path: Path
) -> None:
    postinst = "#!/bin/sh\nexec sleep 987\n"
    package = debs.build(tmp_path, "kept-hangs", scripts={"postinst": postinst})
    process = start("pkgprobe", "-p", package, "-i", image, *KEEPS)
    assert eventually(lambda: b"sleep\x00987\x00" in all_argv(), 60)
    (name,) = guests()
    process.send_signal(signal.SIGINT)
    report, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    assert [probe["guest"] for probe in json.loads(report)["probes"]] == [""]
    assert not is_left(name, state_dir)
