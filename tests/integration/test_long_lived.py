"""Guests with a name that stay: started, filled, read, restarted, made an image of, ended."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import socket
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from postroj.container import roster
from postroj.container.cgroup import group, processes
from tests.support.cli import POSTROJ, all_argv, eventually, postroj, start

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

IMAGE = "test-committed"


def ok(*argv: object, **options: Any) -> str:
    done = postroj(*argv, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def in_guest(name: str, script: str) -> str:
    return ok("exec", name, "--", "sh", "-c", script)


def guests() -> dict[str, dict[str, Any]]:
    """What `postroj ps` says, by the names that were given."""
    return {guest["given"]: guest for guest in json.loads(ok("ps", "--json"))}


def is_left(name: str) -> bool:
    return bool(processes.population(name)) or any(path.exists() for path in group.folders(name))


@pytest.fixture(scope="module", autouse=True)
def _own_state() -> Iterator[None]:
    """Run directories of this module; what a test that failed has left is ended."""
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory(prefix="s-") as folder:
        patch.setenv("POSTROJ_STATE_DIR", folder)
        yield
        postroj("stop", "--all", "--time", "0")


@pytest.fixture(scope="module")
def web(image: str) -> str:
    """A guest that the tests share."""
    assert ok("run", "-d", "--name", "web", "-i", image) == "web\n"
    return "web"


@pytest.fixture
def brief(image: str, tmp_path: Path) -> Iterator[str]:
    """A guest whose command writes to the host when it is told to end."""
    script = (
        "trap 'echo bye >/mnt/ended; exit 0' TERM; touch /mnt/began; while :; do sleep 0.1; done"
    )
    bind = ("--bind", f"{tmp_path}:/mnt")
    ok("run", "-d", "--name", "brief", "-i", image, *bind, "--", "sh", "-c", script)
    assert eventually((tmp_path / "began").exists)
    yield guests()["brief"]["name"]
    postroj("stop", "--time", "0", "brief")


def test_run_name_is_refused_while_another_guest_has_it(web: str, image: str) -> None:
    guest = guests()["web"]
    assert re.fullmatch(r"postroj-[0-9a-f]{8}", guest["name"])
    assert (guest["image"], guest["kept"], guest["purpose"]) == (image, True, "run")
    assert guest["memory"] > 1e6
    assert re.search(rf"^web +{image} ", ok("ps"), re.MULTILINE)
    assert in_guest("web", "hostname") == in_guest(guest["name"], "hostname")
    refused = postroj("run", "--name", "web", "-i", image, "true")
    assert (refused.returncode, refused.stdout) == (125, "")
    assert f"the guest '{guest['name']}' already has the name 'web'" in refused.stderr
    assert guests().keys() == {"web"}


def test_run_detached_runs_its_command_in_the_guest(web: str, image: str) -> None:
    script = 'echo "1 $ONE $HOME $PWD 100% %n $((40 + 2))"; echo 2 >&2; exit 7'
    argv = ("-e", "ONE=o n$e", "--chdir", "/srv", "--", "sh", "-c", script)
    (name,) = ok("run", "--detach", "-i", image, *argv).split()
    assert re.fullmatch(r"postroj-[0-9a-f]{8}", name)

    def has_ended() -> bool:
        return "status=7" in ok("logs", "-u", "command", name)

    assert eventually(has_ended)
    said = [line.partition("]: ")[2] for line in ok("logs", name, "-u", "command").splitlines()]
    assert "1 o n$e /root /srv 100% %n 42" in said
    assert "2" in said
    assert "1 o n$e" in ok("logs", name)
    assert "1 o n$e" not in ok("logs", name, "-u", "dbus")
    ok("stop", name)
    assert not is_left(name)


def test_run_detached_leaves_no_guest_if_its_command_cannot_start(web: str, image: str) -> None:
    done = postroj("run", "-d", "--name", "no", "-i", image, "--", "/no/such/thing")
    assert (done.returncode, done.stdout) == (125, "")
    assert "/no/such/thing" in done.stderr
    assert guests().keys() == {"web"}


def test_run_detached_keeps_a_guest_without_init_running(web: str, image: str) -> None:
    ok("run", "-d", "--no-boot", "--name", "plain", "-i", image)
    name = guests()["plain"]["name"]
    assert in_guest("plain", "echo $((40 + 2))") == "42\n"
    refused = postroj("logs", "plain")
    assert refused.returncode == 2
    assert "hint: `postroj logs --console plain`" in refused.stderr
    ok("stop", "plain")
    assert not is_left(name)


def test_stop_lets_a_guest_shut_down(brief: str, tmp_path: Path) -> None:
    ok("stop", "--time", "60", "brief")
    assert (tmp_path / "ended").read_text() == "bye\n"
    assert not is_left(brief)


def test_stop_time_0_kills_at_once(brief: str, tmp_path: Path) -> None:
    ok("stop", "--time", "0", "brief")
    assert not (tmp_path / "ended").exists()
    assert not is_left(brief)


def test_stop_kills_a_guest_that_does_not_shut_down_in_time(brief: str, tmp_path: Path) -> None:
    leader = roster.leader(brief)
    assert leader
    leader.send(signal.SIGSTOP)
    ok("stop", "--time", "0.5", "brief")
    assert not (tmp_path / "ended").exists()
    assert not is_left(brief)


def test_logs_shows_journal_and_console(web: str) -> None:
    in_guest(web, "echo one | systemd-cat -t tests; echo two | systemd-cat -t tests; sync")
    in_guest(web, "journalctl --sync; printf 'on the \\033[31mconsole\\n' >/dev/console")
    lines = ok("logs", web).splitlines()
    assert len(lines) > 10
    said = ok("logs", web, "-n", "1").splitlines()
    assert len([line for line in said if "]: " in line]) == 1
    assert ok("logs", "--console", web, "-n", "1") == "on the console\n"
    assert ok("logs", "--console", web, "-n", "0") == ""
    assert "Reached target" in ok("logs", "--console", web)
    refused = postroj("logs", "nobody")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "no guest is named 'nobody'" in refused.stderr


@pytest.mark.parametrize("option", [(), ("--console",)])
def test_logs_are_followed_until_ctrl_c(web: str, option: tuple[str, ...]) -> None:
    process = start("logs", "--follow", "-n", "0", *option, web, stderr=subprocess.PIPE)
    assert process.stdout
    word = b"now " + os.urandom(4).hex().encode()
    # journalctl says nothing when it is there, so it is told more than once
    script = f"for n in 1 2 3 4 5 6 7 8; do echo {word.decode()} >/dev/console; " + (
        f"echo {word.decode()} | systemd-cat; sleep 0.3; done"
    )
    told = subprocess.Popen([*POSTROJ, "exec", web, "sh", "-c", script], stdin=subprocess.DEVNULL)
    assert word in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert (process.returncode, said.strip()) == (130, b"")
    assert told.wait(60) == 0


@pytest.mark.parametrize("option", [(), ("--console",)])
def test_logs_are_followed_until_the_guest_ends(brief: str, option: tuple[str, ...]) -> None:
    process = start("logs", "--follow", *option, "brief", stderr=subprocess.PIPE)
    assert process.stdout and process.stdout.readline()
    ok("stop", "brief")
    _, said = process.communicate(timeout=30)
    assert (process.returncode, said) == (0, b"")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder with what a copy must keep."""
    top = tmp_path / "tree"
    (top / "sub").mkdir(parents=True)
    (top / "sub" / "bytes").write_bytes(os.urandom(3_000_000))
    (top / ".hidden file\n").write_text("x")
    os.chown(top / "sub" / "bytes", 1234, 4321)
    (top / "sub" / "bytes").chmod(0o640)
    (top / "link").symlink_to("/etc/passwd")
    (top / "twin").hardlink_to(top / "sub" / "bytes")
    os.utime(top / "sub" / "bytes", ns=(10**18, 10**18 + 123456789))
    (top / "sub").chmod(0o1770)
    os.utime(top / "sub", (1e9, 1e9))
    return top


def facts(top: Path) -> dict[str, tuple[object, ...]]:
    """What a copy must keep of each path below a folder."""
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted(top.rglob("*")):
        status = path.lstat()
        what = path.readlink() if path.is_symlink() else path.is_file() and path.read_bytes()
        whose = (status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns)
        found[str(path.relative_to(top))] = (what, *whose)
    return found


def test_cp_copies_a_folder_in_and_out_unchanged(web: str, tree: Path, tmp_path: Path) -> None:
    ok("cp", tree, "web:/srv")
    asked = "stat -c '%a %u %g %Y' /srv/tree/sub/bytes /srv/tree/sub; readlink /srv/tree/link"
    assert in_guest(web, asked) == ("640 1234 4321 1000000000\n1770 0 0 1000000000\n/etc/passwd\n")
    ok("cp", "web:/srv/tree", tmp_path / "new")
    assert facts(tmp_path / "new") == facts(tree)
    assert (tmp_path / "new" / "twin").stat().st_nlink == 2
    (tmp_path / "there").mkdir(0o711)
    ok("cp", "web:srv/tree", tmp_path / "there")
    assert facts(tmp_path / "there" / "tree") == facts(tree)
    ok("cp", "web:/srv/tree/.", tmp_path / "there")
    assert facts(tmp_path / "there" / "sub") == facts(tree / "sub")
    assert (tmp_path / "there").stat().st_mode & 0o7777 == 0o711
    ok("cp", f"{tree}/.", "web:/srv/new")
    ok("cp", "web:/srv/new", tmp_path / "again")
    assert facts(tmp_path / "again") == facts(tree)
    in_guest(web, "rm -r /srv/*")


def test_cp_names_the_copy_as_typed(web: str, tree: Path, tmp_path: Path) -> None:
    ok("cp", tree / "sub" / "bytes", r"web:/root/a|b\n&c")
    in_guest(web, r"cmp '/root/a|b\n&c' '/root/a|b\n&c' && mkdir -p /srv/in")
    ok("cp", r"web:/root/a|b\n&c", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == (tree / "sub" / "bytes").read_bytes()
    ok("cp", tree / "link", "web:/srv/in")
    assert in_guest(web, "readlink /srv/in/link") == "/etc/passwd\n"
    ok("cp", "web:/srv/in/link", tmp_path)
    assert (tmp_path / "link").readlink() == Path("/etc/passwd")
    ok("cp", "web:/etc/hostname", tmp_path / "back")
    assert (tmp_path / "back").read_text() == in_guest(web, "hostname")
    in_guest(web, "rm -r /srv/* /root/a*")


def test_cp_reads_and_writes_a_tar_in_a_pipe(web: str, tmp_path: Path) -> None:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        member = tarfile.TarInfo("piped")
        member.size, member.uid, member.mode = 3, 77, 0o4711
        tar.addfile(member, io.BytesIO(b"abc"))
    argv = [*POSTROJ, "cp", "-", "web:/srv"]
    subprocess.run(argv, input=made.getvalue(), check=True)
    assert in_guest(web, "cat /srv/piped; stat -c '%a %u' /srv/piped") == "abc4711 77\n"
    argv = [*POSTROJ, "cp", "web:/srv", "-"]
    said = subprocess.run(argv, stdout=subprocess.PIPE, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(said)) as tar:
        assert tar.getnames() == ["srv", "srv/piped"]
    in_guest(web, "rm /srv/piped")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("web:/no/such", "."), "'web:/no/such' does not exist"),
        (("web:/etc/hostname/", "."), "'web:/etc/hostname/' does not exist"),
        (("web:/etc/hostname", "/no/such/folder/x"), "'/no/such/folder' is not a folder"),
        (("web:/etc/hostname", "new/"), "'new/' is not a folder"),
        (("web:/etc", "file"), "'file' is not a folder, but the source is"),
        (("web:/etc/hostname", "dir"), "'dir/hostname' is a folder"),
        (("no-such-file", "web:/srv"), "'no-such-file' does not exist"),
        (("file/", "web:/srv"), "'file/' does not exist"),
        (("file", "web:/no/such/x"), "'web:/no/such' is not a folder"),
        (("file", "web:/srv/new/"), "'web:/srv/new/' is not a folder"),
        (("file", "web:/"), "'web:/file' is a folder"),
        (("dir", "web:/etc/hostname"), "'web:/etc/hostname' is not a folder"),
        (("-", "web:/etc/hostname"), "'web:/etc/hostname' is not a folder"),
        (("file", "file"), "one of SOURCE and TARGET must be GUEST:PATH"),
        (("web:/etc", "web:/srv"), "one of SOURCE and TARGET must be GUEST:PATH"),
        (("file", "nobody:/srv"), "no guest is named 'nobody'"),
    ],
)
def test_cp_refuses_what_cannot_be_copied(
    web: str, tmp_path: Path, argv: tuple[str, str], message: str
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "dir" / "hostname").mkdir(parents=True)
    in_guest(web, "mkdir -p /file")
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = postroj("cp", *argv, cwd=tmp_path, env=env)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {message}")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["dir", "file", "hostname"]


def evil(*members: tuple[str, bytes, str]) -> bytes:
    """A tar whose members each have a name, a kind and where they lead; files say `evil`."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name, kind, link in members:
            member = tarfile.TarInfo(name)
            member.type, member.linkname, member.mode = kind, link, 0o6755
            member.size = 4 if kind == tarfile.REGTYPE else 0
            member.devmajor, member.devminor = 1, 3
            tar.addfile(member, io.BytesIO(b"evil"))
    return made.getvalue()


def test_cp_from_a_hostile_guest_writes_nowhere_else(web: str, image: str, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("ours")
    ok("run", "-d", "--name", "evil", "-i", image)
    in_guest("evil", "mkdir /srv/x; touch /srv/f")
    tool = tmp_path / "tool"
    tool.write_text("#!/bin/sh\ncat /root/evil.tar\n")
    tool.chmod(0o755)
    attacks = {
        "dots": evil(("../outside/file", b"0", "")),
        "within": evil(("a/../../outside/file", b"0", "")),
        "link": evil(("a", b"2", str(outside)), ("a/file", b"0", "")),
        "link over": evil(("a", b"2", str(outside / "file")), ("a", b"0", "")),
        "hard": evil(("a", b"1", "../outside/file"), ("a", b"0", "")),
        "root": evil((str(outside / "file"), b"0", "")),
        "device": evil(("null", b"3", ""), ("pipe", b"6", "")),
        "setuid": evil(("program", b"0", "")),
        "two": evil(("f", b"2", "/"), ("f", b"0", "")),
    }
    for number, (name, attack) in enumerate(attacks.items()):
        target = tmp_path / f"in {name}"
        script = "cat > /root/evil.tar"
        subprocess.run([*POSTROJ, "exec", "evil", "sh", "-c", script], input=attack, check=True)
        if not number:
            ok("cp", tool, "evil:/usr/bin/tar")
        done = postroj("cp", "evil:/srv/x", target)
        assert done.returncode in (0, 4), done.stderr
        assert "Traceback" not in done.stderr
        assert [path.name for path in outside.iterdir()] == ["file"]
        assert (outside / "file").read_text() == "ours"
        for path in target.rglob("*"):
            assert path.is_symlink() or path.is_file() or path.is_dir()
            assert path.is_symlink() or not path.stat().st_mode & 0o6000
    assert (tmp_path / "in setuid" / "program").read_text() == "evil"
    done = postroj("cp", "evil:/srv/f", tmp_path / "file")
    assert done.returncode == 4
    assert "something other than the requested file" in done.stderr
    in_guest("evil", ": > /root/evil.tar")
    done = postroj("cp", "evil:/srv/f", tmp_path / "file")
    assert done.returncode == 4
    assert "the guest sent nothing" in done.stderr
    tool.write_text("#!/bin/sh\nreadlink /proc/self/fd/[012] >&2; exit 3\n")
    subprocess.run(
        [*POSTROJ, "exec", "evil", "sh", "-c", "cat >/usr/bin/tar"],
        input=tool.read_bytes(),
        check=True,
    )
    for argv in (
        *(("evil:/srv/f", "-"), ("-", "evil:/srv")),
        *(("evil:/srv/x", "x"), (tool, "evil:/srv")),
    ):
        with tool.open("rb") as stdin, (tmp_path / "out").open("wb") as stdout:
            told = subprocess.run(
                [*POSTROJ, "cp", *map(str, argv)],
                stdin=stdin,
                stdout=stdout,
                stderr=subprocess.PIPE,
                cwd=tmp_path,
                check=False,
                text=True,
            )
        assert told.returncode == 4
        files = re.findall(r"(?m)^  \| (\S+)$", told.stderr)
        assert len(files) == 3, told.stderr
        assert all(name.startswith("pipe:") for name in files), files
    in_guest("evil", "rm /usr/bin/tar")
    done = postroj("cp", "evil:/srv/f", tmp_path / "file")
    assert done.returncode == 4
    assert "the guest has no tar" in done.stderr
    ok("stop", "evil")


def test_exec_ends_when_its_guest_powers_off(brief: str) -> None:
    """All are stopped by systemd-shutdown, and the nsenter around this one stops with it."""
    process = start("exec", "brief", "sleep", "98765", stderr=subprocess.PIPE)
    assert eventually(lambda: b"sleep\x0098765\x00" in all_argv(), 30)
    in_guest("brief", "systemctl poweroff --no-block")
    _, said = process.communicate(timeout=120)
    if process.returncode not in (128 + signal.SIGTERM, 128 + signal.SIGKILL):
        # the guest had ended before its status was there
        assert process.returncode == 125
        assert b"error: the guest" in said
    assert eventually(lambda: "brief" not in guests(), 60)


def test_restart_boots_a_guest_with_what_it_has_written(web: str) -> None:
    own, before = guests()["web"]["name"], guests()["web"]["leader"]
    in_guest(web, "echo kept >/etc/kept; echo gone >/run/gone")
    assert ok("restart", "web", "--time", "60") == ""
    after = guests()["web"]
    assert after["name"] == own
    assert after["leader"] not in (None, before)
    assert (
        in_guest(web, "cat /etc/kept; ls /run/gone 2>&1 | wc -l; hostname") == f"kept\n1\n{own}\n"
    )
    assert in_guest(web, "systemctl is-system-running") == "running\n"
    assert in_guest(web, "test ! -e /run/gone; getent hosts localhost >/dev/null; echo $?") == "0\n"


@pytest.mark.parametrize("time", ["0", "0.5"])
def test_restart_kills_a_guest_that_does_not_shut_down_in_time(web: str, time: str) -> None:
    before = guests()["web"]["leader"]
    os.kill(before, signal.SIGSTOP)
    ok("restart", "web", "--time", time)
    assert guests()["web"]["leader"] not in (None, before)
    assert in_guest(web, "systemctl is-system-running") == "running\n"


def test_restart_refuses_the_guest_of_a_running_command(web: str, image: str) -> None:
    argv = ("run", "--name", "busy", "-i", image, "--", "sleep", "1000")
    process = start(*argv, stderr=subprocess.PIPE)
    assert eventually(lambda: guests().get("busy", {}).get("leader"), 30)
    refused = postroj("restart", "busy")
    assert refused.returncode == 2
    assert "'busy' is in use by another command" in refused.stderr
    ok("stop", "busy")
    process.communicate(timeout=30)
    assert process.returncode == 125
    assert guests().keys() == {"web"}


COUNT = (
    "mkdir -p /etc/0 /var/z; n=0; while n=$((n + 1)); do for f in /etc/0/n /var/z/n;"
    " do echo $n >$f.new; mv $f.new $f; done; done"
)
"""Counts in two files that are read at the begin and at the end."""


def committed(image: str) -> dict[str, str]:
    """Numbers in an image that was committed, and what else must and must not be there."""
    archive = subprocess.run(
        [*POSTROJ, "export", image, "-", "--format", "tar"], stdout=subprocess.PIPE, check=True
    ).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        found = {}
        for member in tar:
            file = tar.extractfile(member) if member.isreg() and member.size < 100 else None
            found[member.name.removeprefix("./")] = file.read().decode("latin") if file else ""
    return found


@pytest.fixture
def counting(image: str) -> Iterator[str]:
    """A guest whose files change all the time; and no image that is made of it stays."""
    yield ok("run", "-d", "--name", "count", "-i", image, "--", "sh", "-c", COUNT).strip()
    postroj("stop", "--time", "0", "count")
    postroj("remove", IMAGE)


def test_commit_makes_an_image_of_a_guest(counting: str) -> None:
    refused = postroj("commit", counting, "debian-trixie")
    assert refused.returncode == 2
    assert "is the name of an image in the catalog" in refused.stderr
    in_guest(counting, "echo mine >/srv/mine; rm /etc/motd; touch /tmp/t /run/r")
    assert re.match(rf"{IMAGE}: committed, \d+ MB\n", ok("commit", counting, IMAGE))
    last = in_guest(counting, "cat /etc/0/n")
    assert eventually(lambda: in_guest(counting, "cat /etc/0/n") != last)
    files = committed(IMAGE)
    early, late = int(files["etc/0/n"]), int(files["var/z/n"])
    assert early - late in (0, 1), "of one moment"
    assert files["srv/mine"] == "mine\n"
    assert files["etc/machine-id"] == ""
    traces = {"etc/hostname", "etc/hosts", "etc/resolv.conf", "etc/motd", "tmp/t", "run/r"}
    assert not traces & files.keys()
    assert not [name for name in files if name.startswith("var/log/journal/")]
    own = guests()["count"]["name"]
    assert not [name for name, text in files.items() if own in text]

    again = postroj("commit", counting, IMAGE)
    assert again.returncode == 2
    assert "there is an image 'test-committed' already" in again.stderr
    in_guest(counting, "echo more >>/srv/mine")
    ok("commit", "--force", counting, IMAGE)
    script = "cat /srv/mine; systemctl is-system-running; cat /etc/machine-id | wc -c"
    assert ok("run", "-i", IMAGE, "--", "sh", "-c", script) == "mine\nmore\nrunning\n33\n"
    listed = json.loads(ok("list-images", "--cached", "--json"))
    assert IMAGE in json.dumps(listed)
    ok("verify", IMAGE)
    ok("remove", IMAGE)


def test_commit_that_is_killed_leaves_the_guest_running(counting: str) -> None:
    process = start("commit", counting, IMAGE, stderr=subprocess.DEVNULL)
    leader = roster.leader(guests()["count"]["name"])
    assert leader
    frozen = processes.freezer(leader.read("cgroup"))
    assert frozen
    events: Callable[[], str] = (frozen / "cgroup.events").read_text
    assert eventually(lambda: "frozen 1" in events() or process.poll() is not None)
    assert process.poll() is None
    process.kill()
    process.communicate()
    assert eventually(lambda: "frozen 0" in events())
    assert in_guest(counting, "echo lives") == "lives\n"


ANSWERS = r"""[Service]
ExecStart=/usr/bin/perl -MIO::Socket::INET -e \
    'my $$s = IO::Socket::INET->new(LocalPort => 80, Listen => 9) or die; \
    while (my $$c = $$s->accept) { print $$c "here\n" }'
[Install]
WantedBy=multi-user.target
"""


def has_network(name: str, port: int) -> bool:
    """Whether a guest has a way out, and answers at a published port."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as peer:
            answer = peer.makefile().read()
    except OSError:
        return False
    return answer == "here\n" and "\t00000000\t" in in_guest(name, "cat /proc/net/route")


def test_run_detached_with_private_users_is_entered_copied_and_restarted(
    image: str, tmp_path: Path
) -> None:
    """Its files are copied with the owners that it sees, and make no image.

    Each boot has another network, on which the same ports are published.
    """
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    options = ("--private-users", "--publish", f"{port}:80", "-i", image)
    assert ok("run", "-d", "--name", "own", *options) == "own\n"
    try:
        unit = "/etc/systemd/system/answers.service"
        ok("exec", "own", "--", "tee", unit, input=ANSWERS, stdin=None)
        in_guest("own", "systemctl enable --now answers")
        assert eventually(lambda: has_network("own", port))
        ok("restart", "own")
        assert eventually(lambda: has_network("own", port))
        before = guests()["own"]["leader"]
        in_guest("own", "systemctl start --no-block reboot.target")
        assert eventually(lambda: guests()["own"]["leader"] not in (None, before), 60)
        assert eventually(lambda: has_network("own", port), 30)
        in_guest("own", "echo text > /srv/file; chown 1234:4321 /srv/file")
        ok("cp", "own:/srv/file", tmp_path / "file")
        status = (tmp_path / "file").stat()
        assert (status.st_uid, status.st_gid) == (1234, 4321)
        ok("cp", tmp_path / "file", "own:/srv/back")
        assert in_guest("own", "stat --format=%u:%g /srv/back") == "1234:4321\n"
        refused = postroj("commit", "own", IMAGE)
        assert refused.returncode == 2
        assert "private users, which no other guest has" in refused.stderr
    finally:
        ok("stop", "own")
