"""What a guest without users of its own tries on its host, and does not get.

What such a guest can do is said in docs/explanation/sandbox.rst. Tries are harmless: what is opened
for writing is not written to.
"""

from __future__ import annotations

import os
import re
import socket
import tarfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from postroj import process
from postroj.container.spec import Bind, GuestSpec
from postroj.container.start import StartedGuest, start_guest
from postroj.errors import GuestError
from postroj.model import NetworkMode
from postroj.prepare import obtain
from tests.support import tars
from tests.support.cli import eventually, postroj

if TYPE_CHECKING:
    from collections.abc import Iterator

READ = "head -c 1 {} >/dev/null"


DENIED = "not permitted|[Pp]ermission denied|[Rr]ead-only|must be superuser"
ABSENT = "nonexistent|No such file|not implemented"
"""What the kernel of the host may lack itself."""


CALLS = {
    "init_module": {"x86_64": 175, "aarch64": 105},
    "swapon": {"x86_64": 167, "aarch64": 224},
}
"""Numbers of system calls, by machine."""


def call(name: str, text: str = "") -> str:
    """Make a system call with a text and zeros: a guest may lack the tool that does."""
    number = CALLS[name][os.uname().machine]
    return f"perl -e 'my $text = q({text}); syscall({number}, $text, 0, 0) or exit; die $!'"


def refuse(guest: StartedGuest, script: str, reason: str = DENIED) -> None:
    """Assert that a guest cannot do something, and why."""
    done = guest.run(["sh", "-c", script], ok=range(256), timeout=30)
    assert done.status != 0 and re.search(reason, done.output), (done.status, done.output)


# devices


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, int]]:
    """A disk of this host with a file system, which root of this host can mount."""
    folder = tmp_path_factory.mktemp("disk")
    file, mounted = folder / "ext4", folder / "mounted"
    mounted.mkdir()
    process.run(["truncate", "--size=8M", str(file)])
    process.run(["mkfs.ext4", "-q", str(file)])
    device = process.run(["losetup", "--find", "--show", str(file)]).text
    try:
        process.run(["mount", "-o", "ro", device, str(mounted)])
        process.run(["umount", str(mounted)])
        number = Path(device).stat().st_rdev
        yield os.major(number), os.minor(number)
    finally:
        process.run(["losetup", "--detach", device])


@pytest.mark.parametrize("kind", ["disk", "mem", "kmsg", "loop-control", "rtc"])
def test_device_file_can_be_made_in_a_guest_and_not_opened(
    guest: StartedGuest, disk: tuple[int, int], kind: str
) -> None:
    """Packages that make device files, for a chroot say, are not held up."""
    major, minor = disk
    numbers = {
        "disk": f"b {major} {minor}",
        "mem": "c 1 1",
        "kmsg": "c 1 11",
        "loop-control": "c 10 237",
        "rtc": "c 254 0",
    }
    guest.run(["sh", "-c", f"rm -f /dev/it; mknod /dev/it {numbers[kind]}"])
    refuse(guest, READ.format("/dev/it"), "not permitted")
    refuse(guest, ": >> /dev/it", "not permitted")


def test_guest_cannot_mount_a_disk_of_the_host(guest: StartedGuest, disk: tuple[int, int]) -> None:
    major, minor = disk
    refuse(
        guest,
        f"rm -f /dev/it; mknod /dev/it b {major} {minor}; mount -o ro /dev/it /mnt",
        "open blockdev",
    )


def test_guest_cannot_swap_to_a_disk_of_the_host(
    guest: StartedGuest, disk: tuple[int, int]
) -> None:
    major, minor = disk
    make = f"rm -f /dev/it; mknod /dev/it b {major} {minor}"
    refuse(guest, f"{make}; {call('swapon', '/dev/it')}", "not permitted")


def test_devices_in_a_devtmpfs_of_the_guest_cannot_be_opened(guest: StartedGuest) -> None:
    script = "mkdir -p /all; mount -t devtmpfs none /all; ls /all | grep -c ."
    assert int(guest.run(["sh", "-c", script]).text) > 5
    refuse(guest, READ.format("/all/loop-control"), "not permitted")
    guest.run(["sh", "-c", "head -c 1 /all/zero >/dev/null; umount /all"])


def test_guest_cannot_open_a_loop_device(guest: StartedGuest) -> None:
    refuse(
        guest,
        "truncate -s 1M /tmp/file && losetup --find --show /tmp/file",
        "failed to set up|unused loop device",
    )


def test_devices_that_every_program_needs_can_be_opened(guest: StartedGuest) -> None:
    for name in ("null", "zero", "full", "random", "urandom", "pts/ptmx"):
        guest.run(["sh", "-c", f": < /dev/{name}; : > /dev/{name}"], timeout=30)


def test_service_with_private_devices_runs(guest: StartedGuest) -> None:
    """The guest's systemd has programs of this kind, too."""
    argv = ["systemd-run", "--wait", "--pipe", "-p", "PrivateDevices=yes", "-p"]
    done = guest.run([*argv, "DevicePolicy=closed", "--", "head", "-c", "3", "/dev/zero"])
    assert len(done.output.rstrip("\n")) >= 3


def test_device_given_with_bind_can_be_opened(image: str) -> None:
    """As `--bind /dev/kvm`; this one every host has."""
    bind = Bind(source=Path("/dev/loop-control"), target="/dev/loop-control", read_only=False)
    with obtain(image) as stored:
        spec = GuestSpec(layers=stored.layers, boot=False, binds=(bind,), network=NetworkMode.NONE)
        with start_guest(spec) as guest:
            guest.run(["sh", "-c", ": < /dev/loop-control"])


# the kernel


@pytest.mark.parametrize(
    "script",
    [
        ": >> /proc/sysrq-trigger",
        ": >> /proc/sys/kernel/core_pattern",
        ": >> /proc/sys/kernel/hostname",
        ": >> /sys/power/state",
        "mkdir /sys/kernel/debug/x",
        "date --set=@$(date +%s)",
        call("init_module"),
        "dmesg --clear",
        "head -c 1 /proc/kcore",
        "mount -t bpf none /mnt && touch /mnt/x",
        ": >> /run/host/os-release",
    ],
)
def test_guest_cannot_change_the_kernel_of_the_host(guest: StartedGuest, script: str) -> None:
    refuse(guest, script, f"{DENIED}|{ABSENT}")


def test_guest_cannot_write_the_os_release_of_the_host(guest: StartedGuest) -> None:
    """nspawn shows the host's own file; root in the guest can take the read-only from it."""
    (host,) = (Path("/etc/os-release").resolve(),)
    before = host.stat()
    shown = guest.run(["cat", "/run/host/os-release"]).text
    assert shown.strip() == host.read_text().strip()
    script = "mount -o remount,bind,rw /run/host/os-release; echo ID=owned >> /run/host/os-release"
    guest.run(["sh", "-c", script], ok=range(256))
    after = host.stat()
    assert (after.st_mtime_ns, after.st_size) == (before.st_mtime_ns, before.st_size)
    assert "ID=owned" not in host.read_text()


# what the host has


def test_guest_has_nothing_of_our_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    word = f"ecret-{uuid.uuid4()}"
    monkeypatch.setenv("POSTROJ_TEST_SECRET", f"s{word}")
    # with brackets, as its own command line would be found otherwise
    script = f"cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline | grep -a -c '[s]{word}'"
    done = postroj("run", "--network=none", "--", "sh", "-c", script)
    assert (done.returncode, done.stdout) == (1, "0\n"), done.stderr


def test_guest_sees_no_process_or_mount_of_the_host(guest: StartedGuest, tmp_path: Path) -> None:
    refuse(guest, f"ls {tmp_path}", "No such file")
    script = "cat /proc/[0-9]*/cmdline | tr '\\0' '\\n'"
    seen = guest.run(["sh", "-c", script]).text
    assert "systemd-journald" in seen
    assert "pytest" not in seen
    mounted = guest.run(["cat", "/proc/self/mountinfo"]).text
    assert not re.search(r" - (ext4|xfs|btrfs|fuse\S*) ", mounted)


@pytest.mark.parametrize("family", ["inet", "inet6", "gateway", "abstract"])
def test_guest_reaches_no_service_of_the_host(image: str, family: str) -> None:
    """On its loopback, by the address of its gateway, or by a name that is no file."""
    name = f"postroj-test-{uuid.uuid4()}"
    with socket.socket(socket.AF_UNIX if family == "abstract" else KINDS[family]) as server:
        server.bind(f"\0{name}" if family == "abstract" else (ANY[family], 0))
        server.listen()
        port = "" if family == "abstract" else server.getsockname()[1]
        script = CONNECT[family].format(port=port, name=name)
        with obtain(image) as stored:
            for mode, reached in ((NetworkMode.HOST, "yes"), (NetworkMode.PRIVATE, "no")):
                spec = GuestSpec(layers=stored.layers, boot=False, network=mode)
                if family == "gateway" and mode is NetworkMode.HOST:
                    continue  # it is another machine's there
                with start_guest(spec) as guest:
                    found = guest.run(["perl", "-e", script], timeout=30).text
                    assert found == reached, mode


KINDS = {"inet": socket.AF_INET, "inet6": socket.AF_INET6, "gateway": socket.AF_INET}
ANY = {"inet": "127.0.0.1", "inet6": "::1", "gateway": "0.0.0.0"}
INET = (
    "use IO::Socket::IP; print IO::Socket::IP->new(PeerHost => '{host}', PeerPort => {{port}}, "
    "Timeout => 3) ? 'yes' : 'no'"
)
CONNECT = {
    "inet": INET.format(host="127.0.0.1"),
    "inet6": INET.format(host="::1"),
    "gateway": (
        "use IO::Socket::IP; open my $f, '<', '/proc/net/route'; my ($gw) = "
        "grep {{ hex }} map {{ (split)[2] }} <$f>; "
        "my $host = join '.', reverse map hex, $gw =~ /../g; "
        "print IO::Socket::IP->new(PeerHost => $host, PeerPort => {port}, Timeout => 3) "
        "? 'yes' : 'no'"
    ),
    "abstract": (
        "use Socket; socket my $s, AF_UNIX, SOCK_STREAM, 0; "
        "print connect($s, pack_sockaddr_un(qq(\\0{name}))) ? 'yes' : 'no'"
    ),
}


# images whose files lead out of them


MOVES = """
cd /sys/fs/cgroup/init.scope || cd /sys/fs/cgroup/*/init.scope || exit 1
mkdir ../away
until rmdir "$PWD"; do
    while read -r pid; do echo "$pid" >../away/cgroup.procs; done <cgroup.procs
    sleep 0.1
done
"""


def test_command_that_cannot_join_the_group_of_the_guest_is_not_run(image: str) -> None:
    """Outside of it the command would have no limits, and all devices of the host."""
    with obtain(image) as stored, start_guest(GuestSpec(layers=stored.layers)) as guest:
        guest.run(["systemd-run", "--quiet", "sh", "-c", MOVES], timeout=50)
        assert eventually(lambda: not all(file.exists() for file in guest.leader.joins), 30)
        with pytest.raises(GuestError, match="no command can join the control group"):
            guest.run(["touch", "/root/was-run"])
        with pytest.raises(GuestError, match="no command can join the control group"):
            guest.reboot()
        assert not guest.exists("/root/was-run")
        assert not guest.has_ended()


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder of the host with a file that nobody is to read or write."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "file").write_text("ID=outside\n[Service]\nExecStart=/bin/true\n")
    return folder


FOLDERS = ("/dev", "/proc", "/run", "/sys", "/tmp", "/var/tmp", "/var/log", "/srv", "/root")
FILES = (
    *("/etc/os-release", "/usr/lib/os-release", "/etc/machine-id", "/etc/hostname", "/etc/hosts"),
    *("/etc/resolv.conf", "/etc/localtime", "/etc/systemd/system/outside.service"),
    *("/etc/passwd-", "/var/lib/outside"),
)


@pytest.mark.parametrize("private_users", [False, True])
@pytest.mark.parametrize("paths", [FILES, *((folder,) for folder in FOLDERS)], ids=str)
def test_links_of_an_image_are_resolved_inside_the_guest(
    image: str, tmp_path: Path, outside: Path, paths: tuple[str, ...], private_users: bool
) -> None:
    """Whether such an image boots is its own matter."""
    target = outside / "file" if paths is FILES else outside
    before = target.stat()
    link = {"type": tarfile.SYMTYPE, "linkname": str(target)}
    layer = tars.squashfs(
        tmp_path / "links.squashfs", *((path.lstrip("/"), link) for path in paths)
    )
    with obtain(image) as stored:
        spec = GuestSpec(
            layers=(*stored.layers, layer),
            network=NetworkMode.NONE,
            private_users=private_users,
            boot_timeout=20,
        )
        try:
            with start_guest(spec) as guest:
                for path in paths:
                    done = guest.run(["cat", path], ok=range(256))
                    assert "outside" not in done.text
                    guest.run(["sh", "-c", f"mkdir -p {outside}; echo x >> {path}"], ok=range(256))
        except GuestError:
            pass
    after = target.stat()
    assert (after.st_mtime_ns, after.st_size, after.st_uid, after.st_mode) == (
        *(before.st_mtime_ns, before.st_size, before.st_uid, before.st_mode),
    )
    assert [path.name for path in outside.iterdir()] == ["file"]


def test_links_of_an_imported_image_are_resolved_inside_the_guest(
    outside: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What postroj reads of an image to know what it is."""
    monkeypatch.setenv("POSTROJ_CACHE_DIR", str(tmp_path / "cache"))
    link = {"type": tarfile.SYMTYPE, "linkname": str(outside / "file")}
    archive = tmp_path / "links.tar"
    members = [member for member in tars.ROOT if "os-release" not in member[0]]
    names = ("usr/lib/os-release", "etc/os-release", "etc/machine-id", "sbin/init")
    archive.write_bytes(tars.tar(*members, *((name, link) for name in names), root=False))
    done = postroj("import", "links", str(archive))
    told = done.stdout + done.stderr + postroj("list-images", "--json").stdout
    assert "ID=outside" not in told
    assert "Traceback" not in told
    records = (tmp_path / "cache").rglob("*.json")
    assert not [path for path in records if "outside" in path.read_text()]
