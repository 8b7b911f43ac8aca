"""The launch script, word by word."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from postroj.container.boot import idmap, launch, nspawn, readahead
from postroj.container.boot.nspawn import Bind, GuestSpec
from postroj.container.cgroup import limits
from postroj.model import NetworkMode

RUN_DIR = Path("/run/postroj/postroj-ab12")
IMAGE = Path("/cache/debian.squashfs")
PASTA = ["pasta", "--quiet"]
SIZE = limits.of_host(1).disk
UNPRIVILEGED = (
    "setpriv --no-new-privs --reuid=65534 --regid=65534 --clear-groups --bounding-set=-all"
    " --inh-caps=-all --"
)
ODD = ("with space", "quote'single", 'quote"double', "comma,colon:", "back\\slash", "$(touch x)`;&")


def script(spec: GuestSpec, run_dir: Path = RUN_DIR) -> str:
    cgroups = [Path("/sys/fs/cgroup/postroj-ab12/x")]
    return launch.launch_script(spec, run_dir, cgroups, PASTA, "ID=host")


def words(text: str, command: str) -> list[list[str]]:
    """Every line of a script that begins with a command, as the shell splits it."""
    return [shlex.split(line) for line in text.splitlines() if line.startswith(command)]


def test_the_script_of_a_booted_guest_with_a_private_network() -> None:
    lines = script(GuestSpec(layers=(IMAGE, Path("/cache/second.squashfs")))).splitlines()
    overlay = (
        "lowerdir=../seed:lower1:lower0,upperdir=upper,workdir=work,redirect_dir=on,metacopy=off"
    )
    assert lines == [
        "set -eu",
        "umask 022",
        "trap 'exit 67' USR1",
        "trap 'exit 63' USR2",
        "{",
        f"mount -t tmpfs -o size={SIZE},mode=0755,nr_inodes=0 tmpfs {RUN_DIR}/mnt || exit 62",
        f"cd {RUN_DIR}/mnt",
        "mkdir upper work root lower0 lower1",
        "{",
        *(
            f"mount -t squashfs -o loop,ro,nodev {path} {lower} 2>../mount"
            f" || {{ {UNPRIVILEGED} sqfs2tar /proc/self/fd/3 3<{path} |"
            " tar --extract --numeric-owner --same-owner --same-permissions --xattrs"
            f" '--xattrs-include=*' --directory {lower} && : >../unpacked; }}"
            " || { cat ../mount >&2; exit 61; }"
            for path, lower in (
                ("/cache/debian.squashfs", "lower0"),
                ("/cache/second.squashfs", "lower1"),
            )
        ),
        f"{shlex.join(readahead.argv(['lower0', 'lower1']))} >/dev/null 2>&1 &",
        "} &",
        "layers=$!",
        "[ -d /run/systemd/nspawn ] || mkdir -p /run/systemd/nspawn",
        "mount -t tmpfs -o mode=0755 tmpfs /run/systemd/nspawn || exit 62",
        "printf %s ID=host > os-release || exit 62",
        "[ ! -e /etc/os-release ] || mount --bind os-release /etc/os-release || exit 62",
        f"{{ : > {RUN_DIR}/mnt/netns && unshare --net={RUN_DIR}/mnt/netns true; }} || exit 63",
        "wait $layers || exit $?",
        "} &",
        "mounts=$!",
        "echo 0 > /sys/fs/cgroup/postroj-ab12/x || exit 64",
        "wait $mounts || exit $?",
        f"cd {RUN_DIR}/mnt",
        "{ pasta --quiet --foreground --pid /proc/self/fd/1"
        " --netns /run/postroj/postroj-ab12/mnt/netns || :; kill -USR2 $$; } &",
        f"mount -t overlay -o {overlay} overlay root || exit 62",
        *(f"[ ! -L root/{name} ] || exit 66" for name in ("dev", "proc", "run", "sys")),
        lines[-2],
        "read -r _ || :",
    ]
    assert lines[-2].startswith("{ { while status=0; systemd-nspawn --quiet ")
    assert lines[-2].endswith(
        " </dev/null >&2 || status=$?; echo $status >../status;"
        " [ $status = 133 ]; do :; done; } 2>&1"
        f" | {launch.CONSOLE}; read -r status <../status;"
        " if [ $status -gt 128 ] && [ $status -lt 193 ];"
        " then kill -USR1 $$; else echo ended; fi; } 3>&2 &"
    )


def test_a_guest_that_is_handed_over_lives_as_long_as_nspawn(tmp_path: Path) -> None:
    lines = script(GuestSpec(layers=(IMAGE,), keep=True)).splitlines()
    ended = next(number for number, line in enumerate(lines) if line.endswith("; } 3>&2 &"))
    assert lines[ended + 1] == "guest=$!"
    for word, status in (("keep", 5), ("", 0), ("other", 0)):
        text = f"set -eu; (exit 5) & guest=$!; {lines[-1].replace('|| :', '|| exit 5')}"
        done = subprocess.run(["sh", "-c", text], input=f"{word}\n", text=True, check=False)
        assert done.returncode == status


def test_no_path_of_the_host_is_a_mount_option() -> None:
    """A comma or a colon in it would be taken for the option's end."""
    text = script(GuestSpec(layers=(IMAGE,)), Path("/a,b:c/postroj-1"))
    options = [line[line.index("-o") + 1] for line in words(text, "mount ")]
    assert len(options) == 4
    assert not [option for option in options if "a,b" in option]


@pytest.mark.parametrize("mode", [NetworkMode.HOST, NetworkMode.NONE])
def test_only_a_private_network_takes_pasta(mode: NetworkMode) -> None:
    text = script(GuestSpec(layers=(IMAGE,), network=mode))
    assert "pasta" not in text
    assert "unshare" not in text
    assert "netns" not in text


@pytest.mark.parametrize("mode", [NetworkMode.PRIVATE, NetworkMode.NONE])
def test_the_files_of_a_guest_with_users_of_its_own(mode: NetworkMode) -> None:
    text = script(GuestSpec(layers=(IMAGE,), network=mode, private_users=True))
    base = idmap.base("postroj-ab12")
    assert words(text, sys.executable)[0][:-3] == idmap.argv(base, ["lower0"])
    assert words(text, "chown")[0][:6] == [
        *("chown", "-R", f"{base}:{base}"),
        *("upper", "work", "../seed"),
    ]
    assert "netns" not in text  # it belongs to the guest's users, and is not there before it


def test_a_second_way_to_what_stays_writable() -> None:
    lines = script(GuestSpec(layers=(IMAGE,), read_only=True)).splitlines()
    start = lines.index("[ ! -L root/var ] || exit 62")
    assert lines[start : start + 3] == [
        "[ ! -L root/var ] || exit 62",
        "mkdir var",
        "mount --bind root/var var || exit 62",
    ]


@pytest.mark.parametrize("odd", ODD)
def test_odd_names_survive_the_shell(odd: str, tmp_path: Path) -> None:
    run_dir = tmp_path / odd / "postroj-1"
    layer = tmp_path / f"{odd}.squashfs"
    bind = Bind(source=Path("/srv") / odd, target=f"/{odd}", read_only=True)
    spec = GuestSpec(layers=(layer,), binds=(bind,))
    text = script(spec, run_dir)
    subprocess.run(["sh", "-n"], input=text, text=True, check=True)
    assert words(text, "mount -t squashfs")[0][5:7] == [str(layer), "lower0"]
    assert words(text, "cd") == 2 * [["cd", str(run_dir / "mnt")]]
    argv = words(text, "{ { while status=0; systemd-nspawn")[0][4:]
    assert argv[: argv.index("</dev/null")] == nspawn.nspawn_argv(spec, run_dir)
    assert words(text, "{ pasta")[0][6:8] == ["--netns", str(run_dir / "mnt/netns")]


def test_the_namespaces_end_with_the_script() -> None:
    assert launch.namespace_argv("a script") == [
        *("unshare", "--mount", "--propagation", "slave"),
        *("--pid", "--fork", "--kill-child", "--mount-proc"),
        *("sh", "-c", "a script"),
    ]


def test_each_stage_has_a_status_of_its_own() -> None:
    assert sorted(launch.STAGES) == [61, 62, 63, 64, 65, 66]
    assert all(stage.failure and stage.hint for stage in launch.STAGES.values())
