"""Guests of a user without root: what works, and what is kept apart."""

from __future__ import annotations

import io
import json
import os
import random
import re
import subprocess
import tarfile
import time
from itertools import cycle, islice
from pathlib import Path
from signal import SIGHUP, SIGINT, SIGKILL, SIGTERM
from subprocess import DEVNULL, PIPE
from typing import TYPE_CHECKING, Any

import pytest

from postroj.image.architectures import of_this_host
from tests.support import debs, outer, unprivileged, victims
from tests.support.cli import DEFAULT_IMAGE, NO_REPOSITORIES, eventually, postroj
from tests.support.sshd import stand_in
from tests.support.terminal import converse
from tests.support.unprivileged import PYTHON, User

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from postroj.process import Completed
    from tests.support.outer import Outer

SEED = os.environ.get("POSTROJ_TEST_SEED") or str(random.randrange(1 << 32))
KILLS = int(os.environ.get("POSTROJ_TEST_KILLS", "100"))
SIGNALS = (SIGINT, SIGTERM, SIGHUP, SIGKILL)
DEADLINE = 60
KEPT = "their-guest"
IMAGE = ("--image", DEFAULT_IMAGE)
OTHER_IMAGE = "debian-bookworm"


@pytest.fixture(scope="module")
def user(pulled: Callable[[str], str]) -> Iterator[User]:
    name = pulled(DEFAULT_IMAGE)
    assert postroj("run", "--no-boot", *IMAGE, "--", "true").returncode == 0
    with unprivileged.user() as made:
        made.take(name, pulled(OTHER_IMAGE))
        yield made


@pytest.fixture(scope="module")
def kept(user: User) -> Iterator[str]:
    """A guest of this user that the tests share."""
    done = user.postroj("run", "--detach", "--name", KEPT, *IMAGE)
    assert done.returncode == 0, done.stderr
    yield KEPT
    user.postroj("stop", KEPT)


def test_run_passes_the_status_on_and_leaves_nothing(user: User) -> None:
    script = "id -u; systemctl is-system-running; exit 7"
    done = user.postroj("run", *IMAGE, "--", "sh", "-c", script)
    assert (done.returncode, done.stdout) == (7, "0\nrunning\n"), done.stderr


def test_package_gets_the_verdicts_that_root_gives(user: User, tmp_path: Path) -> None:
    deb = debs.service(tmp_path, "lonely", "/bin/sleep 1000")
    file = user.home / deb.name
    file.write_bytes(deb.read_bytes())
    options = ("--no-project", "--steps=install,reboot,purge", "--settle=0", *NO_REPOSITORIES)
    found = []
    for command in (user.postroj, postroj):
        done = command("pkgprobe", *IMAGE, f"--package={file}", *options, "--json")
        assert done.stdout, done.stderr
        (probe,) = json.loads(done.stdout)["probes"]
        found.append([(step["name"], step["outcome"], outcomes(step)) for step in probe["steps"]])
    assert found[0] == found[1]
    assert [name for name, *_ in found[0]] == ["install", "reboot", "purge"]


def outcomes(step: dict[str, Any]) -> set[tuple[str, str]]:
    """Return the checks of a step, and what came of each."""
    return {(check["subject"], check["outcome"]) for check in step["checks"]}


def test_files_go_in_and_out_of_a_kept_guest_and_belong_to_the_user(user: User, kept: str) -> None:
    there, back = user.home / "there", user.home / "back"
    there.write_text("hello")
    unprivileged.own(there, user.name)
    assert user.postroj("cp", there, f"{kept}:/root/it").returncode == 0
    done = user.postroj("exec", kept, "--", "stat", "--format=%u:%g", "/root/it")
    assert done.stdout == "0:0\n", done.stderr
    assert user.postroj("cp", f"{kept}:/root/it", back).returncode == 0
    assert back.read_text() == "hello"
    assert back.stat().st_uid == there.stat().st_uid != 0


def test_kept_guest_is_listed_restarted_and_has_its_network_again(user: User, kept: str) -> None:
    (listed,) = json.loads(user.postroj("ps", "--json").stdout)
    assert (listed["given"], listed["kept"]) == (kept, True)
    assert user.postroj("restart", kept).returncode == 0
    script = "apt-get update -qq -o APT::Update::Error-Mode=any && systemctl is-system-running"
    done = user.postroj("exec", kept, "--", "sh", "-c", script)
    assert (done.returncode, done.stdout) == (0, "running\n"), done.stderr
    logs = user.postroj("logs", "--lines=1", kept)
    assert logs.returncode == 0 and logs.stdout, logs.stderr


def test_restart_of_several_guests_reboots_each(user: User, kept: str) -> None:
    """Each of them has a user namespace of its own."""
    assert user.postroj("run", "--detach", "--name=second", *IMAGE).returncode == 0
    before = leaders(user)
    done = user.postroj("restart", kept, "second")
    assert done.returncode == 0, done.stderr
    after = leaders(user)
    assert before.keys() == after.keys() == {kept, "second"}
    assert not before.items() & after.items()
    assert user.postroj("stop", "second").returncode == 0


def leaders(user: User) -> dict[str, int]:
    """Return the PIDs of the inits of this user's guests."""
    guests = json.loads(user.postroj("ps", "--json").stdout)
    return {guest["given"]: guest["leader"] for guest in guests}


def test_logs_shows_the_journal_of_a_unit_and_the_console(user: User, kept: str) -> None:
    done = user.postroj("logs", "--unit=systemd-journald.service", kept)
    assert "systemd-journald" in done.stdout, done.stderr
    done = user.postroj("logs", "--console", kept)
    assert "Welcome to" in done.stdout, done.stderr


def test_host_gives_this_user_guests_of_its_own_and_leaves_nothing(
    user: User, kept: str, tmp_path: Path
) -> None:
    local = user.home / ".local/bin"
    local.mkdir(parents=True, exist_ok=True)
    program = local / "postroj"
    program.write_text(f'#!/bin/sh\nexec {PYTHON} -m postroj "$@"\n')
    program.chmod(0o755)
    folders = user.home / "t"
    folders.mkdir()
    unprivileged.own(folders, user.name)
    env = stand_in(tmp_path, *user.argv("env", f"TMPDIR={folders}"))
    script = "id -u; cat; exit 7"
    done = postroj(
        *("--host", "box", "run", "--no-boot", *IMAGE, "--", "sh", "-c", script),
        env=env,
        stdin=None,
        input="in\n",
    )
    assert (done.returncode, done.stdout) == (7, "0\nin\n"), done.stderr
    tree = tmp_path / "tree"
    (tree / "fixed").mkdir(parents=True)
    (tree / "fixed/file").write_text("hello")
    (tree / "fixed").chmod(0o555)
    for source, target in (("tree", f"{kept}:/root/far"), (f"{kept}:/root/far", "found")):
        done = postroj("--host", "box", "cp", source, target, env=env, cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "found/fixed/file").read_text() == "hello"
    assert list(folders.iterdir()) == []


def test_shell_is_on_a_terminal(user: User) -> None:
    argv = user.argv(PYTHON, "-m", "postroj", "shell", *IMAGE)
    keys = [(b"# ", b"tty; echo $((6*7)); exit 3\n")]
    screen, status = converse(argv, keys)
    assert (status, b"/dev/pts/" in screen, b"42" in screen) == (3, True, True), screen


def test_packages_are_probed_on_images_side_by_side(user: User, tmp_path: Path) -> None:
    names = ("one", "other")
    for name in names:
        deb = debs.service(tmp_path, name, "/bin/sleep 1000")
        (user.home / f"{name}.deb").write_bytes(deb.read_bytes())
    options = ("--no-project", "--jobs=2", "--settle=0", "--json", *NO_REPOSITORIES)
    packages = [f"--package={user.home}/{name}.deb" for name in names]
    done = user.postroj("pkgprobe", *IMAGE, f"--image={OTHER_IMAGE}", *packages, *options)
    probes = json.loads(done.stdout)["probes"]
    assert (done.returncode, [probe["outcome"] for probe in probes]) == (0, ["pass"] * 2)


NEEDS = {
    "real-time-unit": ("/bin/sleep 1000", "CPUSchedulingPolicy=fifo", "real-time scheduling"),
    "real-time-disk": ("/bin/sleep 1000", "IOSchedulingClass=realtime", "CAP_SYS_NICE"),
    "real-time-program": ("/usr/bin/chrt -f 5 sleep 1000", "", "CAP_SYS_NICE"),
    "node": ("/usr/bin/mknod /var/lib/node b 8 0", "", "CAP_MKNOD"),
}
"""Of packages with a service each: its command, a setting, and what only root of the host has."""


def test_package_is_not_blamed_for_what_the_kernel_refuses_a_user(
    user: User, tmp_path: Path
) -> None:
    packages = []
    for name, (command, setting, _) in NEEDS.items():
        deb = debs.service(tmp_path, name, command, more=setting)
        (user.home / deb.name).write_bytes(deb.read_bytes())
        packages.append(f"--package={user.home / deb.name}")
    options = ("--no-project", "--steps=install", "--settle=0", "--json", *NO_REPOSITORIES)
    done = user.postroj("pkgprobe", *IMAGE, *packages, *options)
    (probe,) = json.loads(done.stdout)["probes"]
    (step,) = probe["steps"]
    found = {check["subject"]: check for check in step["checks"] if check["kind"] == "unit"}
    for name, (*_, need) in NEEDS.items():
        check = found[f"{name}.service"]
        assert (check["outcome"], check["why"]) == ("skip", "container"), check
        assert need in check["needs"]


def test_guest_becomes_an_image_that_boots(user: User, kept: str) -> None:
    assert user.postroj("exec", kept, "--", "touch", "/root/mine").returncode == 0
    done = user.postroj("commit", kept, "their-image")
    assert done.returncode == 0, done.stderr
    done = user.postroj("run", "--image=their-image", "--", "ls", "/root/mine")
    assert (done.returncode, done.stdout) == (0, "/root/mine\n"), done.stderr


ESCAPES = {
    "device": ("mknod /it b 8 0", "not permitted"),
    "disk": (
        "mount -t ext4 /dev/sda /mnt",
        "denied|superuser|exist",
    ),
    "sysctl": ("echo x > /proc/sys/kernel/core_pattern", "[Rr]ead-only|[Pp]ermission denied"),
    "hierarchy": ("mount -t cgroup -o memory none /mnt && mkdir /mnt/x", "[Pp]ermission denied"),
    "clock": ("date -s @0", "not permitted"),
}


@pytest.mark.parametrize("what", ESCAPES)
def test_root_in_a_guest_cannot(what: str, user: User, kept: str) -> None:
    script, reason = ESCAPES[what]
    done = user.postroj("exec", kept, "--", "sh", "-c", script)
    assert done.returncode != 0
    assert re.search(reason, done.stderr), done.stderr


def test_root_in_a_guest_is_the_user_without_groups_and_sees_none_of_its_files(
    user: User, kept: str
) -> None:
    done = user.postroj("exec", kept, "--", "sh", "-c", "cat /proc/self/uid_map; id -G")
    first, *_, groups = done.stdout.splitlines()
    assert int(first.split()[1]) == user.home.stat().st_uid
    assert groups == "0"
    (user.home / "secret").write_text("x")
    done = user.postroj("exec", kept, "--", "ls", user.home)
    assert "No such file" in done.stderr


def test_folder_that_is_made_anew_hides_what_the_image_has_in_it(user: User) -> None:
    """What an overlay of root notes in an attribute that no user may set."""
    script = "rm -r /usr/share/doc && mkdir /usr/share/doc && ls /usr/share/doc | wc -l"
    done = user.postroj("run", *IMAGE, "--", "sh", "-c", script)
    assert (done.returncode, done.stdout) == (0, "0\n"), done.stderr


def test_image_is_unpacked_where_there_is_no_squashfuse(user: User) -> None:
    done = user.postroj("run", *IMAGE, "--", "true", hide="/usr/bin/squashfuse_ll")
    assert done.returncode == 0, done.stderr
    assert "has its image in memory" in done.stderr


OLD_KERNEL = """
import sys
from postroj.container import disk
from postroj.__main__ import main
disk.is_needed = lambda: True
sys.argv[0] = "postroj"
sys.exit(main())
"""


def test_guest_writes_to_a_disk_where_a_tmpfs_keeps_no_attributes(user: User) -> None:
    """As before Linux 6.6: packages replace files of the image, and folders are made anew."""
    old, there = (PYTHON, "-c", OLD_KERNEL), user.cache / "guests"
    script = """
        apt-get update -qq && apt-get install -qq --reinstall tzdata >/dev/null
        rm -r /usr/share/doc && mkdir -p /usr/share/doc/$(printf 'x%.0s/' $(seq 1 1200))
        ls -A /usr/share/doc
    """
    done = user.run(*old, "run", *IMAGE, "--", "sh", "-ec", script)
    assert (done.returncode, done.stdout) == (0, "x\n"), done.stderr
    assert "does not limit what a guest takes of: " in done.stderr
    assert left_on_disk(there) == []
    assert there.stat().st_mode & 0o777 == 0o700
    done = user.run(*old, "run", "--detach", "--name=on-disk", *IMAGE)
    assert done.returncode == 0, done.stderr
    (one,) = left_on_disk(there)
    assert user.postroj("prune").returncode == 0
    assert left_on_disk(there) == [one]
    done = user.postroj("exec", "on-disk", "--", "findmnt", "-no", "OPTIONS", "/")
    assert "upperdir=upper" in done.stdout, done.stderr
    assert user.postroj("stop", "on-disk").returncode == 0
    assert left_on_disk(there) == []
    argv = user.argv(*old, "run", *IMAGE, "--", "sh", "-c", "echo up; sleep 60")
    with subprocess.Popen(argv, stdout=PIPE, text=True) as child:
        assert child.stdout
        assert child.stdout.readline() == "up\n"
        child.kill()
    (left,) = left_on_disk(there)
    done = user.postroj("prune", "--dry-run", "--json")
    assert f"guests/{left}" in json.loads(done.stdout)["guests"]
    assert left_on_disk(there) == [left]
    assert f"guests/{left}: deleted\n" in user.postroj("prune").stdout
    assert left_on_disk(there) == []


def left_on_disk(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.is_dir()]


def test_guests_of_root_and_of_the_user_do_not_see_or_sweep_each_other(
    user: User, kept: str
) -> None:
    names = [guest["name"] for guest in json.loads(postroj("ps", "--json").stdout)]
    (theirs,) = json.loads(user.postroj("ps", "--json").stdout)
    assert theirs["name"] not in names
    for command in (postroj, user.postroj):
        assert command("prune").returncode == 0
    assert user.postroj("exec", kept, "--", "true").returncode == 0
    assert postroj("stop", kept).returncode == 2


def test_prune_deletes_what_a_dead_guest_has_left_of_other_users(user: User) -> None:
    left = user.state / "postroj-0badcafe"
    left.mkdir(mode=0o700)
    unprivileged.own(left, user.name)
    (left / "theirs").mkdir(mode=0o700)
    (left / "theirs/file").touch()
    lines = Path("/etc/subuid").read_text().splitlines()
    (first,) = (int(line.split(":")[1]) for line in lines if line.startswith(f"{user.name}:"))
    for path in (left / "theirs", left / "theirs/file"):
        os.chown(path, first + 7, first + 7)
    unused = user.cache / f"images/{DEFAULT_IMAGE}-{of_this_host()}.0000000000000000.squashfs"
    unused.write_bytes(b"hsqs")
    unprivileged.own(unused, user.name)
    done = user.postroj("prune", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["guests"], unused.name in found["files"]) == ([left.name], True)
    assert not left.exists() and not unused.exists()


def test_nothing_is_left_whoever_is_killed(user: User, tmp_path: Path) -> None:
    print(f"POSTROJ_TEST_SEED={SEED}")
    dice = random.Random(f"{SEED}-user")
    there = user.names()
    assert eventually(lambda: not user.leftovers(there))
    script = "sleep 0.7; echo end"
    file = user.home / debs.service(tmp_path, "doomed", "/bin/sleep 1000").name
    file.write_bytes((tmp_path / file.name).read_bytes())
    probe = ("--no-project", "--settle=0", f"--package={file}", *NO_REPOSITORIES)
    commands = {
        ("run", *IMAGE, "--", "sh", "-c", script): 1.5,
        ("pkgprobe", *IMAGE, *probe): 3.0,
    }
    for words, longest in islice(cycle(commands.items()), KILLS // 10):
        moment = dice.uniform(0, longest)
        argv = user.argv(PYTHON, "-m", "postroj", *words)
        with subprocess.Popen(argv, stdout=DEVNULL, stderr=DEVNULL) as child:
            time.sleep(moment)
            found = [*filter(None, [victims.look(child.pid)]), *victims.descendants(child.pid)]
            process, number = dice.choice(found or [None]), dice.choice(SIGNALS)
            if process:
                victims.send(process, number)
            child.wait(DEADLINE)
        assert user.postroj("ps").returncode == 0
        assert eventually(lambda: not user.leftovers(there)), (
            f"{words[0]}: {number.name} to {process} after {moment:.3f} s left"
            f" {user.leftovers(there)}"
        )
    assert user.names() == there


def test_guest_ends_with_what_serves_its_files_which_has_no_rights(user: User) -> None:
    """Else its package would be blamed for files that cannot be read."""
    argv = user.argv(PYTHON, "-m", "postroj", "run", *IMAGE, "--", "sh", "-c", "echo up; sleep 60")
    with subprocess.Popen(argv, stdout=PIPE, stderr=PIPE, text=True) as child:
        assert child.stdout and child.stderr
        assert child.stdout.readline() == "up\n"
        found = victims.descendants(child.pid)
        (server,) = (process for process in found if process.name == "squashfuse_ll")
        status = dict(
            line.split(":\t")
            for line in Path(f"/proc/{server.pid}/status").read_text().splitlines()
        )
        assert {int(uid) for uid in status["Uid"].split()}.isdisjoint({0, user.home.stat().st_uid})
        assert {int(status[f"Cap{kind}"], 16) for kind in ("Prm", "Bnd", "Inh")} == {0}
        victims.send(server, SIGKILL)
        assert child.wait(DEADLINE) == 125
        assert "error: the guest was ended" in child.stderr.read()


LOG_IN = """
useradd --create-home alice
loginctl enable-linger alice
useradd bob
sed -i /^bob:/d /etc/subuid /etc/subgid
mknod -m 666 /dev/fuse c 10 229
chmod 666 /dev/net/tun
mkdir -p /home/alice/.cache/postroj
cp -r /var/cache/postroj/images /home/alice/.cache/postroj
chown -R alice: /home/alice/.cache
until [ -S /run/user/$(id -u alice)/bus ]; do sleep 0.1; done
"""
# as.sh NAME POSTROJ_WORD...
AS_NAMED = """
cd /
name=$1
shift
runtime=/run/user/$(id -u "$name")
exec setpriv --reuid="$name" --regid="$name" --init-groups --reset-env \
    env XDG_RUNTIME_DIR=$runtime PYTHONPATH=$PYTHONPATH PYTHONDONTWRITEBYTECODE=1 \
    python3 -m postroj "$@"
"""


@pytest.fixture(scope="module")
def host(pulled: Callable[[str], str]) -> Iterator[Outer]:
    """A host with systemd, on which alice is logged in, and bob has nothing."""
    pulled(DEFAULT_IMAGE)
    with outer.booted(pulled(OTHER_IMAGE)) as booted:
        booted.run("sh", "-ec", LOG_IN)
        yield booted


def on(host: Outer, name: str, *words: object) -> Completed:
    """Run postroj as a user of a host with systemd."""
    return host.run("sh", "-ec", AS_NAMED, "sh", name, *words, ok=range(256), timeout=120)


def test_guest_on_a_host_with_systemd_is_in_a_scope_of_the_users_own(host: Outer) -> None:
    """The command comes from a session of the host, and moves to the user's groups itself."""
    script = "systemctl is-system-running; apt-get update -qq && tail -n 1 /proc/1/cgroup; exit 5"
    done = on(host, "alice", "run", *IMAGE, "--", "sh", "-c", script)
    assert (done.status, done.text) == (5, "running\n0::/init.scope"), done.output
    left = host.run("find", "/sys/fs/cgroup", "-name", "postroj-????????*").text
    assert left == ""


def test_package_is_probed_on_a_host_with_systemd(host: Outer, tmp_path: Path) -> None:
    deb = debs.service(tmp_path, "lonely", "/bin/sleep 1000").read_bytes()
    host.guest.run(["sh", "-c", "cat > /srv/lonely.deb"], stdin=deb)
    options = ("--no-project", "--steps=install,reboot", "--settle=0")
    done = on(host, "alice", "pkgprobe", *IMAGE, *options, "--package=/srv/lonely.deb")
    assert done.status == 0, done.output
    assert "PASS  1 service up" in done.text


def test_doctor_names_all_that_a_user_lacks_and_its_fixes_give_that(host: Outer) -> None:
    before = found_by_doctor(host)
    names = ["subordinate ids", "cgroups"]
    assert [name for name, row in before.items() if row["fix"]] == names
    assert [before[name]["status"] for name in names] == ["missing"] * 2
    for name in names:
        host.run("sh", "-ec", before[name]["fix"])
    after = found_by_doctor(host)
    for name in (*names, "user namespaces", "overlay"):
        assert after[name]["status"] == "ok", after[name]


def found_by_doctor(host: Outer) -> dict[str, dict[str, str]]:
    """Return the rows of doctor as bob."""
    done = on(host, "bob", "doctor", "--json")
    return {row["name"]: row for row in json.loads(done.stdout)["requirements"]}


def test_refusals_name_what_is_missing(user: User) -> None:
    done = user.postroj("run", *IMAGE, "--network=host", "--", "true")
    assert (done.returncode, "needs root" in done.stderr) == (125, True)
    done = user.postroj("run", *IMAGE, "--", "true", own_group=False)
    assert done.returncode == 125
    assert "no control groups of version 2" in done.stderr
    with unprivileged.user(ranges=False) as poor:
        done = poor.postroj("run", *IMAGE, "--", "true")
    assert done.returncode == 125
    assert "gives the user" in done.stderr
    assert "usermod --add-subuids=" in done.stderr


def test_doctor_names_numbers_kernel_and_groups_at_once(tmp_path: Path) -> None:
    setting = "/proc/sys/user/max_user_namespaces"
    (tmp_path / "zero").write_text("0\n")
    instead = f'mount --bind {tmp_path}/zero {setting} && exec "$@"'
    with unprivileged.user(ranges=False) as poor:
        doctor = poor.argv(PYTHON, "-m", "postroj", "doctor", own_group=False)
        argv = ["unshare", "--mount", "--propagation=private", "sh", "-c", instead, "sh", *doctor]
        done = subprocess.run(argv, check=False, capture_output=True, text=True)
    assert done.returncode == 4
    lacking = "'subordinate ids', 'user namespaces', 'cgroups'"
    error = f"error: this host cannot run guests, it lacks {lacking}"
    assert done.stderr.splitlines()[0] == error
    assert "usermod --add-subuids=" in done.stderr
    assert "user.max_user_namespaces=65536" in done.stderr


def test_doctor_lacks_nothing_here(user: User) -> None:
    done = user.postroj("doctor", "--json")
    found = json.loads(done.stdout)
    lacking = [one for one in found["requirements"] if one["status"] not in ("ok", "warning")]
    assert (done.returncode, found["ok"], lacking) == (0, True, [])
    (entered,) = (one for one in found["requirements"] if one["name"] == "user namespaces")
    assert entered["found"].endswith("is root of one")


def test_image_of_several_layers_is_exported(user: User) -> None:
    """What keeps services from starting is removed by a second layer, when it is prepared."""
    tar, merged = user.home / "image.tar", user.home / "merged.tar"
    assert user.postroj("export", DEFAULT_IMAGE, tar).returncode == 0
    policy = tarfile.TarInfo("./usr/sbin/policy-rc.d")
    policy.mode, text = 0o755, b"#!/bin/sh\nexit 101\n"
    policy.size = len(text)
    with tarfile.open(tar, "a") as members:
        members.addfile(policy, io.BytesIO(text))
    done = user.postroj("import", "--allow-unverified", "two-layers", tar)
    assert done.returncode == 0, done.stderr
    (record,) = (user.cache / "images").glob("two-layers-*.json")
    assert len(json.loads(record.read_text())["layers"]) == 1, done.stdout
    done = user.postroj("export", "two-layers", merged)
    assert done.returncode == 0, done.stderr
    assert merged.stat().st_uid == user.home.stat().st_uid
    with tarfile.open(merged) as members:
        names = {name.removeprefix("./") for name in members.getnames()}
    assert "etc/os-release" in names
    assert "usr/sbin/policy-rc.d" not in names
