"""Every question of `container.guest.Guest`, asked of a guest that has booted."""

from __future__ import annotations

import hashlib
import socket
import time
from typing import TYPE_CHECKING

import pytest

from postroj import process
from postroj.container import roster
from postroj.container.guest import Command, FileKind
from postroj.container.spec import GuestSpec
from postroj.container.start import start_guest
from postroj.errors import CommandError, CommandTimeout, GuestError
from postroj.model import NetworkMode
from postroj.prepare import obtain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from postroj.container.guest import File, Guest
    from postroj.container.start import StartedGuest

FILES = """
mkdir -p /srv/door/folder
printf content > /srv/door/file
chown 1:2 /srv/door/file
chmod 4711 /srv/door/file
ln -s /srv/door/file /srv/door/link
ln -s /etc/shadow /srv/door/../../../../../../srv/door/upward
ln -s /srv/door/nothing /srv/door/dangling
mkfifo /srv/door/fifo
touch "/srv/door/folder/a
line"
"""
SERVE = r"""
use IO::Socket::INET; use IO::Socket::UNIX; use Socket;
my %kinds = (
    tcp => IO::Socket::INET->new(LocalAddr => "127.0.0.1:4321", Listen => 9),
    udp => IO::Socket::INET->new(LocalAddr => "127.0.0.1:4322", Proto => "udp"),
    path => IO::Socket::UNIX->new(Local => "/run/door/s", Listen => 9),
    name => IO::Socket::UNIX->new(Local => "\0door", Listen => 9),
);
exit if fork;
close STDOUT; close STDERR;
for my $name (keys %kinds) {
    next if fork;
    my $server = $kinds{$name};
    if ($name eq "udp") { while ($server->recv(my $said, 99)) { $server->send("from $name") } }
    while (my $peer = $server->accept) { print $peer "from $name"; close $peer }
    exit;
}
sleep;
"""
UNIT = "door.service"


@pytest.fixture(scope="module")
def started(image: str) -> Iterator[StartedGuest]:
    """A guest with files and a service of ours."""
    with obtain(image) as stored:
        spec = GuestSpec(layers=stored.layers, network=NetworkMode.NONE)
        with start_guest(spec) as guest:
            guest.run(["sh", "-ec", FILES])
            service = ("--property=RuntimeDirectory=door", "--property=Type=forking")
            guest.run(["systemd-run", f"--unit={UNIT}", *service, "perl", "-e", SERVE])
            yield guest


@pytest.fixture(params=["started", "entered"])
def guest(request: pytest.FixtureRequest, started: StartedGuest) -> Guest:
    """The guest as who started it has it, and as any other process enters it."""
    return started if request.param == "started" else roster.enter(started.name)


def files(guest: Guest, *, digests: bool = False) -> dict[str, File]:
    found = {file.path: file for file in guest.walk(digests=digests)}
    return {path: file for path, file in found.items() if path.startswith("/srv/door")}


def test_run_has_the_status_and_both_streams(guest: Guest) -> None:
    done = guest.run(["sh", "-c", "cat; echo err >&2; exit 7"], ok=(7,), stdin=b"in\0out")
    assert (done.status, done.stdout, done.stderr) == (7, b"in\0out", b"err\n")
    with pytest.raises(CommandError, match="'sh' ended with status 3"):
        guest.run(["sh", "-c", "exit 3"])
    with pytest.raises(CommandTimeout):
        guest.run(["sleep", "60"], timeout=0.3)


def test_run_passes_variables_and_secrets(guest: Guest) -> None:
    script = 'echo "$A $B $HOME"; tr "\\0" " " </proc/self/cmdline'
    done = guest.run(["sh", "-c", script], env={"A": "a b"}, secrets={"B": "hidden"})
    assert done.text.startswith("a b hidden /root\n")


def test_spawn_starts_a_command_with_the_callers_streams(guest: Guest) -> None:
    with guest.spawn(["cat"], (process.PIPE, process.PIPE, process.DEVNULL)) as child:
        assert child.communicate(b"\0through")[0] == b"\0through"
        assert child.returncode == 0


def test_attach_returns_the_status_of_the_command(guest: Guest) -> None:
    script = "[ $PWD = /srv ] && [ $X = 1 ] && exit 9"
    command = Command(argv=("sh", "-c", script), env={"X": "1"}, chdir="/srv")
    assert guest.attach(command, with_terminal=False) == 9


def test_read_file_follows_links_within_the_guest(guest: Guest) -> None:
    assert guest.read_file("/srv/door/file", 99) == b"content"
    assert guest.read_file("/srv/door/link", 4) == b"cont"
    ours = guest.run(["cat", "/etc/hostname"]).text
    assert guest.read_file("/etc/hostname", 99).decode().strip() == ours == guest.name
    assert guest.read_file("/srv/door/upward", 1 << 20) == guest.run(["cat", "/etc/shadow"]).stdout


@pytest.mark.parametrize("path", ["/srv/door/fifo", "/srv/door", "/dev/zero"])
def test_read_file_refuses_what_is_not_a_regular_file(guest: Guest, path: str) -> None:
    with pytest.raises(OSError, match="is not a regular file"):
        guest.read_file(path, 9)


def test_exists_asks_for_the_end_of_a_link(guest: Guest) -> None:
    paths = ("file", "link", "folder", "fifo", "dangling", "nothing")
    there = {path for path in paths if guest.exists(f"/srv/door/{path}")}
    assert there == {"file", "link", "folder", "fifo"}


def test_walk_yields_types_owners_and_digests(guest: Guest) -> None:
    found = files(guest, digests=True)
    kinds = {path.rpartition("/")[2]: file.kind for path, file in found.items()}
    assert kinds == {
        "door": FileKind.FOLDER,
        "folder": FileKind.FOLDER,
        "file": FileKind.FILE,
        "link": FileKind.LINK,
        "upward": FileKind.LINK,
        "dangling": FileKind.LINK,
        "fifo": FileKind.OTHER,
        "a\nline": FileKind.FILE,
    }
    file = found["/srv/door/file"]
    assert (file.mode, file.uid, file.gid, file.size) == (0o4711, 1, 2, 7)
    assert file.digest == hashlib.sha256(b"content").hexdigest()
    assert found["/srv/door/fifo"].digest == ""
    assert files(guest)["/srv/door/file"].digest == ""


def test_walk_leaves_out_what_does_not_last(guest: Guest) -> None:
    paths = {file.path for file in guest.walk()}
    assert {"/proc", "/etc/passwd", "/var/lib/dpkg/status"} <= paths
    assert not [path for path in paths if path.startswith(("/proc/", "/sys/", "/run/"))]
    assert {file.path for file in guest.walk(deepest=0)} >= {"/etc", "/usr"}
    assert "/etc/passwd" not in {file.path for file in guest.walk(deepest=0)}
    assert "/run/door/s" in {file.path for file in guest.walk(skip=("/proc", "/sys"))}


def opener_of(guest: Guest, address: str) -> int:
    (found,) = [one for one in guest.sockets() if one.entry.address == address]
    return found.opener


@pytest.mark.parametrize(
    ("address", "kind", "said"),
    [
        ("127.0.0.1:4321", "stream", b"from tcp"),
        ("localhost:4321", "Stream", b"from tcp"),
        ("/run/door/s", "stream", b"from path"),
        ("@door", "stream", b"from name"),
    ],
)
def test_connect_reaches_what_listens(guest: Guest, address: str, kind: str, said: bytes) -> None:
    opener = opener_of(guest, address) if address.startswith("/") else 0
    with guest.connect(address, kind, 5, opener=opener) as connection:
        assert connection.recv(99) == said


def test_connect_reaches_udp(guest: Guest) -> None:
    with guest.connect("127.0.0.1:4322", "dgram", 5) as connection:
        connection.send(b"?")
        assert connection.recv(99) == b"from udp"


def test_connect_is_refused_where_only_the_host_listens(guest: Guest) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(ConnectionRefusedError):
            guest.connect(f"127.0.0.1:{port}", "stream", 5)
    with pytest.raises(FileNotFoundError):
        guest.connect("/run/door/none", "stream", 5)


def test_sockets_name_the_unit_and_process_of_each(guest: Guest) -> None:
    found = {one.entry.text: one for one in guest.sockets() if one.unit == UNIT}
    assert found.keys() == {"127.0.0.1:4321", "udp 127.0.0.1:4322", "/run/door/s", "@door"}
    assert {one.process for one in found.values()} == {"perl"}
    assert not any(one.is_of_init for one in found.values())
    assert [one for one in guest.sockets() if one.is_of_init]


def test_processes_have_the_numbers_and_units_of_the_guest(guest: Guest) -> None:
    first, *others = guest.processes()
    assert (first.pid, first.name, first.unit) == (1, "systemd", "")
    own = [one for one in others if one.unit == UNIT]
    assert {(one.name, one.group) for one in own} == {("perl", f"/system.slice/{UNIT}")}
    shown = guest.run(["systemctl", "show", "--property=MainPID", "--value", UNIT]).text
    assert int(shown) in {one.pid for one in own}


def test_processes_have_their_programs_and_when_they_were_started(guest: Guest) -> None:
    script = """cp /bin/sleep /srv/door-sleeper
        systemd-run --quiet --unit=sleeper --service-type=exec /srv/door-sleeper 1000
        rm /srv/door-sleeper"""
    began = time.monotonic()
    guest.run(["sh", "-ec", script])
    own = {one.unit: one for one in guest.processes()}
    perl, sleeper = own[UNIT], own["sleeper.service"]
    assert (perl.executable, perl.is_deleted) == ("/usr/bin/perl", False)
    assert perl.arguments[:2] == ("/usr/bin/perl", "-e")
    assert (sleeper.executable, sleeper.is_deleted) == ("/srv/door-sleeper", True)
    assert sleeper.arguments == ("/srv/door-sleeper", "1000")
    assert perl.started < began - 0.02 < sleeper.started < time.monotonic() + 0.02
    guest.run(["systemctl", "stop", "sleeper"])


def test_state_of_the_manager_and_its_units(guest: Guest) -> None:
    assert (guest.system_state(), guest.failed_units(), guest.init()) == ("running", [], "systemd")
    assert guest.is_active(UNIT)
    assert not guest.is_active("nothing.service")
    assert not (guest.is_stopping() or guest.has_ended())
    guest.require()


def test_reboot_has_another_leader_and_the_same_files(started: StartedGuest) -> None:
    before = started.leader
    started.reboot()
    assert before.has_ended()
    assert started.leader.pid != before.pid
    assert guest_paths(started) >= {"/srv/door/file"}
    assert not started.is_active(UNIT)


def guest_paths(guest: Guest) -> set[str]:
    return set(files(guest))


def test_every_question_to_a_guest_that_was_killed_says_so(image: str) -> None:
    with (
        obtain(image) as stored,
        start_guest(GuestSpec(layers=stored.layers, network=NetworkMode.NONE)) as guest,
    ):
        guest.kill()
        assert guest.has_ended(10)
        null = (process.DEVNULL, process.DEVNULL, process.DEVNULL)
        for ask in (
            lambda: guest.run(["true"]),
            lambda: guest.spawn(["true"], null),
            lambda: guest.attach(Command(argv=("true",)), with_terminal=False),
            lambda: guest.read_file("/etc/passwd", 9),
            lambda: guest.exists("/etc/passwd"),
            lambda: list(guest.walk()),
            lambda: guest.connect("127.0.0.1:1", "stream", 1),
            guest.require,
        ):
            with pytest.raises(GuestError, match="the guest was ended"):
                ask()
        assert (guest.sockets(), guest.processes(), guest.init()) == ([], [], "")
        guest.kill()
        assert guest.console(1 << 10)
