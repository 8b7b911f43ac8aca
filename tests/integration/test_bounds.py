"""What a guest may take and write, and users of its own: as asked for, on every Debian."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tarfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from postroj.container.boot import idmap
from postroj.container.cgroup import devices, group, hierarchies
from postroj.container.limits import Asked
from postroj.container.spec import Bind, GuestSpec
from postroj.container.start import StartedGuest, start_guest
from postroj.errors import GuestError, HostError
from postroj.model import NetworkMode
from postroj.prepare import obtain
from tests.integration.test_kept import KEEP
from tests.support import debs, tars
from tests.support.cli import POSTROJ, postroj

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


MIB = 1 << 20
ASKED = Asked(memory=256 * MIB, cpus=0.2, processes=100)
RELEASES = ("debian-bullseye", "debian-bookworm", "debian-trixie", "debian-sid")


@pytest.fixture(scope="module")
def small(image: str) -> Iterator[StartedGuest]:
    """A guest that may take little of everything."""
    with obtain(image) as stored:
        spec = GuestSpec(layers=stored.layers, asked=ASKED, network=NetworkMode.NONE)
        with start_guest(spec) as guest:
            yield guest


def test_memory_bounds_what_a_process_can_allocate(small: StartedGuest) -> None:
    eat = ["perl", "-e", "my $x = 'x' x ({} << 20); print length $x"]
    fits = small.run([*eat[:2], eat[2].format(100)])
    assert int(fits.text) == 100 * MIB
    died = small.run([*eat[:2], eat[2].format(600)], ok=range(256))
    assert (died.status, died.output) == (128 + signal.SIGKILL, "")
    swap = {"memory.swap.max": "0", "memory.memsw.limit_in_bytes": str(256 * MIB)}
    files = [folder / name for folder in group.folders(small.name) for name in swap]
    found = {file.name: file.read_text().strip() for file in files if file.exists()}
    assert found and found.items() <= swap.items()


def test_memory_lets_two_thirds_of_it_be_written_as_files(small: StartedGuest) -> None:
    blocks, size = small.run(["stat", "--file-system", "--format=%b %S", "/"]).text.split()
    assert int(blocks) * int(size) == 256 * MIB * 2 // 3 // MIB * MIB


def test_pids_bounds_how_many_processes_can_be_forked(small: StartedGuest) -> None:
    many = "for i in $(seq 200); do sleep 20 & done; kill $(jobs -p)"
    done = small.run(["bash", "-c", many], ok=range(256))
    assert "fork" in done.output


def test_cpus_makes_the_kernel_throttle_the_guest(small: StartedGuest) -> None:
    """The kernel counts how often it had to hold the guest back."""
    small.run(["perl", "-e", "1 for 1..2e7"])
    files = [folder / "cpu.stat" for folder in group.folders(small.name)]
    lines = [line for file in files if file.exists() for line in file.read_text().splitlines()]
    assert sum(int(line.split()[1]) for line in lines if line.startswith("nr_throttled ")) > 0


def test_run_in_a_group_with_little_memory_divides_that(image: str) -> None:
    """As in a container, or in a service: not what the host has."""
    roots = hierarchies.mounted()
    root, limit = roots.get("memory"), "memory.limit_in_bytes"
    if root is None:
        root, limit = roots[hierarchies.V2], "memory.max"
    ours = root / f"job-{os.getpid()}"
    ours.mkdir()
    try:
        if not (ours / limit).exists():
            pytest.skip("this host's control groups do not limit memory")
        (ours / limit).write_text(str(1024 * MIB))
        size = ("stat", "--file-system", "--format=%b %S", "/")
        argv = [*POSTROJ, "run", "--network=none", "-i", image, "--", *size]
        inside = ["sh", "-c", f'echo 0 >{ours}/cgroup.procs && exec "$@"', "sh", *argv]
        done = subprocess.run(inside, capture_output=True, text=True, check=True, timeout=60)
    finally:
        ours.rmdir()
    blocks, block = done.stdout.split()
    assert int(blocks) * int(block) == 512 * MIB


def test_cpus_is_refused_on_a_host_without_the_cpu_controller(
    image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {kind: root for kind, root in hierarchies.mounted().items() if kind != "cpu"}
    monkeypatch.setattr(hierarchies, "mounted", lambda: found)
    with obtain(image) as stored:
        spec = GuestSpec(layers=stored.layers, asked=Asked(cpus=1))
        with (
            pytest.raises(HostError, match="cannot limit what was asked for: no cpu"),
            start_guest(spec),
        ):
            pass


def test_host_that_limits_no_memory_and_no_devices_is_warned_of_once(
    image: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(group: int, allowed: object) -> None:
        message = "no such programs"
        raise OSError(message)

    found = {kind: root for kind, root in hierarchies.mounted().items() if kind != "memory"}
    monkeypatch.setattr(hierarchies, "mounted", lambda: found)
    monkeypatch.setattr(hierarchies, "offered", lambda root: {"pids"})
    monkeypatch.setattr(group, "has_swap", lambda: False)
    monkeypatch.setattr(devices, "confine", refuse)
    with obtain(image, boot=False) as stored:
        spec = GuestSpec(layers=stored.layers, boot=False, network=NetworkMode.NONE)
        for _ in range(2):
            with start_guest(spec):
                pass
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        "this host does not limit what a guest takes of: memory; `postroj doctor` shows more",
        "root in a guest can open all devices of this host: no such programs",
    ]


def test_run_on_a_host_that_has_bound_a_control_group_beside_the_hierarchies(image: str) -> None:
    """As agents do that watch one group."""
    part = hierarchies.mounted()[hierarchies.V2] / f"bound-{os.getpid()}"
    place = hierarchies.TOP / f"place-{os.getpid()}"
    bind = 'mount --bind "$1" "$2" && shift 2 && exec "$@"'
    ran = ["run", "--image", image, "--no-boot", "--network", "none", "--", "echo", "ran"]
    part.mkdir()
    place.mkdir()
    try:
        argv = ["unshare", "--mount", "sh", "-c", bind, "sh", str(part), str(place)]
        done = subprocess.run(
            [*argv, *POSTROJ, *ran], capture_output=True, text=True, check=False, timeout=100
        )
    finally:
        place.rmdir()
        part.rmdir()
    assert done.stdout == "ran\n", done.stderr


@pytest.mark.parametrize("release", RELEASES)
def test_read_only_guest_boots_and_can_write_only_where_it_is_temporary(
    pulled: Callable[[str], str], release: str
) -> None:
    with obtain(pulled(release)) as stored:
        spec = GuestSpec(layers=stored.layers, read_only=True, network=NetworkMode.NONE)
        with start_guest(spec) as guest:
            assert guest.state == "running"
            for folder in ("/", "/etc", "/usr/bin", "/root", "/opt"):
                done = guest.run(["touch", f"{folder}/written"], ok=range(256))
                assert (done.status, "Read-only" in done.output) == (1, True), folder
            for folder in ("/run", "/tmp", "/var/lib", "/var/tmp"):
                guest.run(["touch", f"{folder}/written"])


def test_read_only_does_not_follow_a_var_that_leads_out_of_the_image(
    image: str, tmp_path: Path
) -> None:
    """With `--read-only` it is mounted by us, on the host."""
    outside = tmp_path / "outside"
    outside.mkdir()
    with obtain(image) as stored, ExitStack() as stack:
        link = {"type": tarfile.SYMTYPE, "linkname": str(outside)}
        layer = tars.squashfs(tmp_path / "layer.squashfs", ("var", link))
        spec = GuestSpec(layers=(*stored.layers, layer), read_only=True, network=NetworkMode.NONE)
        with pytest.raises(GuestError, match="writable layer could not be mounted"):
            stack.enter_context(start_guest(spec))
    assert list(outside.iterdir()) == []


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the host."""
    return tmp_path_factory.mktemp("shown")


@pytest.fixture(scope="module", params=RELEASES)
def own_users(
    request: pytest.FixtureRequest,
    pulled: Callable[[str], str],
    shown: Path,
) -> Iterator[StartedGuest]:
    """A guest with users of its own, which is shown a folder of the host."""
    (shown / "secret").write_text("of root")
    (shown / "secret").chmod(0o600)
    with obtain(pulled(request.param)) as stored:
        spec = GuestSpec(
            layers=stored.layers,
            private_users=True,
            binds=(Bind(source=shown, target="/srv/shown", read_only=False),),
        )
        with start_guest(spec) as guest:
            yield guest


def test_private_users_make_root_of_the_guest_nobody_on_the_host(own_users: StartedGuest) -> None:
    guest, base = own_users, idmap.base(own_users.name)
    assert guest.state == "running"
    status = Path(f"/proc/{guest.leader.pid}/status").read_text()
    assert f"Uid:\t{base}\t{base}\t{base}\t{base}\n" in status
    assert guest.run(["cat", "/proc/self/uid_map"]).text.split() == ["0", str(base), "65536"]
    owners = guest.run(["stat", "--format=%u:%g", "/", "/etc/passwd", "/etc/hosts", "/var"]).text
    assert set(owners.split()) == {"0:0"}


def test_private_users_give_commands_the_capabilities_of_the_init(own_users: StartedGuest) -> None:
    bounds = own_users.run(["grep", "-h", "CapBnd", "/proc/1/status", "/proc/self/status"]).text
    first, second = bounds.splitlines()
    assert first == second


def test_private_users_let_root_bind_low_ports_and_run_apt(own_users: StartedGuest) -> None:
    listen = "use IO::Socket::INET; IO::Socket::INET->new(LocalPort => 80, Listen => 1) or die $!"
    own_users.run(["perl", "-e", listen])
    own_users.run(["apt-get", "update"], timeout=120)


def test_private_users_map_the_owners_of_a_bound_folder(
    own_users: StartedGuest, shown: Path
) -> None:
    """Root there is root in what the host shows it, and what it writes there is the host's."""
    assert own_users.run(["cat", "/srv/shown/secret"]).text == "of root"
    own_users.run(["touch", "/srv/shown/written"])
    assert (shown / "written").stat().st_uid == os.geteuid()


HARM = {
    "a disk": "mknod /dev/disk b 254 0",
    "all devices": "mount -t devtmpfs none /mnt",
    "the kernel's settings": "mount -t proc proc /mnt && : >> /mnt/sys/kernel/core_pattern",
    "the host's os-release": ": >> /run/host/os-release",
    "the host's groups": "mount -t cgroup -o cpuset none /mnt && : >> /mnt/cgroup.procs",
    "the clock": "date --set=@$(date +%s)",
}


@pytest.mark.parametrize("what", HARM)
def test_private_users_keep_root_of_the_guest_from(own_users: StartedGuest, what: str) -> None:
    done = own_users.run(["sh", "-c", HARM[what]], ok=range(256))
    denied = "denied|not permitted|Read-only"
    assert done.status != 0 and re.search(denied, done.output), (done.status, done.output)


def test_exec_enters_a_kept_guest_with_private_users(image: str, state_dir: Path) -> None:
    script = KEEP.replace("keep=True", "keep=True, private_users=True")
    argv = [sys.executable, "-c", script, image]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=120)
    name = done.stdout.strip()
    try:
        entered = postroj("exec", name, "cat", "/proc/self/uid_map", "/proc/1/comm")
        assert entered.stdout.split() == ["0", str(idmap.base(name)), "65536", "systemd"]
    finally:
        postroj("stop", name)


SERVICE = """[Service]
DynamicUser=yes
AmbientCapabilities=CAP_NET_BIND_SERVICE
ExecStart=/usr/bin/perl -MIO::Socket::INET -e \
    'my $$s = IO::Socket::INET->new(LocalPort => 80, Listen => 9) or die; sleep 1000'
[Install]
WantedBy=multi-user.target
"""


def test_pkgprobe_passes_a_package_with_private_users_and_limits(
    image: str, tmp_path: Path
) -> None:
    """A file that only root of this host can read, a low port, a user of its own, a restart."""
    unit = "/lib/systemd/system/bounded.service"
    postinst = "#!/bin/sh\nsystemctl daemon-reload\nsystemctl enable --now bounded\n"
    prerm = "#!/bin/sh\nsystemctl disable --now bounded\n"
    deb = debs.build(
        tmp_path,
        "bounded",
        files={unit: SERVICE},
        scripts={"postinst": postinst, "prerm": prerm},
    )
    deb.chmod(0o600)
    bounds = ("--private-users", "--memory=1G", "--cpus=2", "--pids=500")
    argv = ("pkgprobe", "--image", image, "--package", deb, "--steps=install,reboot,purge")
    done = postroj(*argv, *bounds, "--json", "--settle=1")
    assert done.returncode == 0, done.stdout
    (found,) = json.loads(done.stdout)["probes"]
    subjects = {check["subject"] for step in found["steps"] for check in step["checks"]}
    assert {"bounded.service", "tcp://127.0.0.1:80"} <= subjects
