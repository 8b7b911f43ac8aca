"""The launch script and nspawn's argv, word by word."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from postroj.container import idmap, limits, nspawn
from postroj.container.masks import KERNEL_COMMAND_LINE
from postroj.container.nspawn import HOLDER, Bind, GuestSpec
from postroj.model import NetworkMode

RUN_DIR = Path("/run/postroj/postroj-ab12")
IMAGE = Path("/cache/debian.squashfs")
PASTA = ["pasta", "--quiet"]
SIZE = limits.of_host(1).disk
HEAD = [
    *("systemd-nspawn", "--quiet", "--machine=postroj-ab12"),
    "--directory=/run/postroj/postroj-ab12/mnt/root",
    *("--register=no", "--keep-unit", "--settings=no", "--kill-signal=SIGKILL"),
    *("--link-journal=no", "--resolv-conf=off", "--timezone=off"),
]
NETWORKS = {
    NetworkMode.PRIVATE: ["--network-namespace-path=/run/postroj/postroj-ab12/mnt/netns"],
    NetworkMode.HOST: [],
    NetworkMode.NONE: ["--private-network"],
}
UNPRIVILEGED = (
    "setpriv --no-new-privs --reuid=65534 --regid=65534 --clear-groups --bounding-set=-all"
    " --inh-caps=-all --"
)
ODD = ("with space", "quote'single", 'quote"double', "comma,colon:", "back\\slash", "$(touch x)`;&")


def script(spec: GuestSpec, run_dir: Path = RUN_DIR) -> str:
    return nspawn.launch_script(spec, run_dir, [Path("/sys/fs/cgroup/postroj-ab12/x")], PASTA)


def words(text: str, command: str) -> list[list[str]]:
    """Every line of a script that begins with a command, as the shell splits it."""
    return [shlex.split(line) for line in text.splitlines() if line.startswith(command)]


@pytest.mark.parametrize("mode", NetworkMode)
def test_nspawn_boots(mode: NetworkMode) -> None:
    assert nspawn.nspawn_argv(GuestSpec(layers=(IMAGE,), network=mode), RUN_DIR) == [
        *HEAD,
        *NETWORKS[mode],
        *("--boot", "--notify-ready=yes"),
        *KERNEL_COMMAND_LINE,
    ]


@pytest.mark.parametrize("mode", NetworkMode)
def test_nspawn_without_init(mode: NetworkMode) -> None:
    spec = GuestSpec(layers=(IMAGE,), network=mode, boot=False)
    argv = nspawn.nspawn_argv(spec, RUN_DIR)
    assert argv == [*HEAD, *NETWORKS[mode], "--as-pid2", "--", *HOLDER]


def test_the_kernel_command_line_masks_and_nothing_else_that_a_package_may_need() -> None:
    assert "systemd.unit=multi-user.target" in KERNEL_COMMAND_LINE
    assert "systemd.mask=getty.target" in KERNEL_COMMAND_LINE
    needed = ("dbus", "journald", "tmpfiles", "sysusers", "logind", "resolved", "timesyncd")
    assert not [word for word in KERNEL_COMMAND_LINE for name in needed if name in word]
    assert all(word.startswith("systemd.") for word in KERNEL_COMMAND_LINE)


@pytest.mark.parametrize(
    ("source", "target", "option"),
    [
        ("/srv", "/srv", "/srv:/srv"),
        ("/a b", "/c d", "/a b:/c d"),
        ("/a:b", "/c:d", "/a\\:b:/c\\:d"),
        ("/a\\b", "/c\\:d", "/a\\\\b:/c\\\\\\:d"),
        ("/ends\\", "/x", "/ends\\\\:/x"),
        ("/'\",$", "/x", "/'\",$:/x"),
    ],
)
@pytest.mark.parametrize("read_only", [True, False])
def test_binds(source: str, target: str, option: str, read_only: bool) -> None:
    bind = Bind(source=Path(source), target=target, read_only=read_only)
    assert bind.option == f"--bind{'-ro' if read_only else ''}={option}"
    argv = nspawn.nspawn_argv(GuestSpec(layers=(IMAGE,), binds=(bind, bind)), RUN_DIR)
    assert argv[argv.index(bind.option) :][:3] == [bind.option, bind.option, "--boot"]


def test_the_script_of_a_booted_guest_with_a_private_network() -> None:
    lines = script(GuestSpec(layers=(IMAGE, Path("/cache/second.squashfs")))).splitlines()
    overlay = (
        "lowerdir=../seed:lower1:lower0,upperdir=upper,workdir=work,redirect_dir=on,metacopy=off"
    )
    assert lines == [
        "set -eu",
        "umask 022",
        "trap 'exit 67' USR1",
        f"mount -t tmpfs -o size={SIZE},mode=0755,nr_inodes=0 tmpfs {RUN_DIR}/mnt || exit 62",
        "cd /run/postroj/postroj-ab12/mnt",
        "[ -d /run/systemd/nspawn ] || mkdir -p /run/systemd/nspawn",
        "mount -t tmpfs -o mode=0755 tmpfs /run/systemd/nspawn || exit 62",
        f"{{ {nspawn.HIDE_OS_RELEASE}; }} || exit 62",
        "mkdir upper work root lower0 lower1",
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
        "echo 0 > /sys/fs/cgroup/postroj-ab12/x || exit 64",
        "trap 'exit 63' USR2",
        ": > netns",
        "unshare --net=/run/postroj/postroj-ab12/mnt/netns true || exit 63",
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
        f" | {nspawn.CONSOLE}; read -r status <../status;"
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
    options = [line[line.index("-o") + 1] for line in words(text, "mount")]
    assert len(options) == 4
    assert not [option for option in options if "a,b" in option]


@pytest.mark.parametrize("mode", [NetworkMode.HOST, NetworkMode.NONE])
def test_only_a_private_network_takes_pasta(mode: NetworkMode) -> None:
    text = script(GuestSpec(layers=(IMAGE,), network=mode))
    assert "pasta" not in text
    assert "unshare" not in text
    assert "wait" not in text.replace("wait-online", "")


@pytest.mark.parametrize("mode", [NetworkMode.PRIVATE, NetworkMode.NONE])
def test_a_guest_with_users_of_its_own(mode: NetworkMode) -> None:
    bind = Bind(source=Path("/a"), target="/b", read_only=True)
    spec = GuestSpec(layers=(IMAGE,), network=mode, binds=(bind,), private_users=True)
    argv = nspawn.nspawn_argv(spec, RUN_DIR)
    base = idmap.base("postroj-ab12")
    start = argv.index("--private-network")
    assert argv[start : argv.index("--boot")] == [
        *("--private-network", "--drop-capability=CAP_NET_ADMIN"),
        *(f"--private-users={base}:65536", "--private-users-ownership=off"),
        "--bind-ro=/a:/b:idmap",
    ]
    text = script(spec)
    assert words(text, sys.executable)[0][1:5] == ["-IS", idmap.__file__, str(base), "lower0"]
    assert words(text, "chown")[0][:6] == [
        *("chown", "-R", f"{base}:{base}"),
        *("upper", "work", "../seed"),
    ]
    assert "netns" not in text  # it belongs to the guest's users, and is not there before it


def test_a_read_only_guest() -> None:
    spec = GuestSpec(layers=(IMAGE,), read_only=True)
    lines = script(spec).splitlines()
    start = lines.index("[ ! -L root/var ] || exit 62")
    assert lines[start : start + 3] == [
        "[ ! -L root/var ] || exit 62",
        "mkdir var",
        "mount --bind root/var var || exit 62",
    ]
    argv = nspawn.nspawn_argv(spec, RUN_DIR)
    assert argv[argv.index("--read-only") + 1] == f"--bind={RUN_DIR}/mnt/var:/var"


@pytest.mark.parametrize("odd", ODD)
def test_odd_names_survive_the_shell(odd: str, tmp_path: Path) -> None:
    run_dir = tmp_path / odd / "postroj-1"
    layer = tmp_path / f"{odd}.squashfs"
    bind = Bind(source=Path("/srv") / odd, target=f"/{odd}", read_only=True)
    spec = GuestSpec(layers=(layer,), binds=(bind,))
    text = script(spec, run_dir)
    subprocess.run(["sh", "-n"], input=text, text=True, check=True)
    assert words(text, "mount -t squashfs")[0][5:7] == [str(layer), "lower0"]
    assert words(text, "cd") == [["cd", str(run_dir / "mnt")]]
    argv = words(text, "{ { while status=0; systemd-nspawn")[0][4:]
    assert argv[: argv.index("</dev/null")] == nspawn.nspawn_argv(spec, run_dir)
    assert words(text, "{ pasta")[0][6:8] == ["--netns", str(run_dir / "mnt/netns")]


def test_the_namespaces_end_with_the_script() -> None:
    assert nspawn.namespace_argv("a script") == [
        *("unshare", "--mount", "--propagation", "slave"),
        *("--pid", "--fork", "--kill-child", "--mount-proc"),
        *("sh", "-c", "a script"),
    ]


def test_each_stage_has_a_status_of_its_own() -> None:
    assert sorted(nspawn.STAGES) == [61, 62, 63, 64, 65, 66]
    assert all(stage.failure and stage.hint for stage in nspawn.STAGES.values())
