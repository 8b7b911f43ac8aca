"""The launch script: its arguments, and its steps with stand-ins for the tools that it runs."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from postroj.container import lifeline, limits
from postroj.container.boot import idmap, launch, nspawn, readahead
from postroj.container.boot.readiness import NETWORK_UP
from postroj.container.host import Host
from postroj.container.network.pasta import ATTENDED
from postroj.container.spec import Bind, GuestSpec
from postroj.model import NetworkMode

if TYPE_CHECKING:
    from collections.abc import Sequence

RUN_DIR = Path("/run/postroj/postroj-ab12")
NETNS = str(RUN_DIR / "mnt/netns")
IMAGE = Path("/cache/debian.squashfs")
PASTA = ["pasta", "--quiet"]
GROUP = Path("/sys/fs/cgroup/postroj-ab12/cgroup.procs")
HOST = Host(nspawn=(252, 0), unified=True, bus=False, os_release="ID=host\n")
ODD = ("with space", "quote'single", 'quote"double', "comma,colon:", "back\\slash", "$(touch x)`;&")


def argv(
    spec: GuestSpec,
    run_dir: Path = RUN_DIR,
    groups: Sequence[Path] = (GROUP,),
    divided: Path | None = None,
) -> list[str]:
    return launch.launch_argv(spec, run_dir, groups, divided, PASTA, HOST)


def parts(words: Sequence[str]) -> list[list[str]]:
    """The settings and the lists among the script's arguments."""
    found: list[list[str]] = [[]]
    for word in words[words.index(str(launch.SCRIPT)) + 1 :]:
        if word == "--" and len(found) < 7:
            found.append([])
        else:
            found[-1].append(word)
    return found


def test_arguments_for_a_booted_guest_with_a_private_network() -> None:
    spec = GuestSpec(layers=(IMAGE, Path("/cache/second.squashfs")))
    words = argv(spec, divided=GROUP.parent)
    assert words[:8] == [
        *("unshare", "--mount", "--propagation", "slave"),
        *("--pid", "--fork", "--kill-child", "--mount-proc"),
    ]
    assert words[8:10] == ["sh", str(launch.SCRIPT)]
    settings, *lists = parts(words)
    assert settings == [
        f"run_dir={RUN_DIR}",
        f"size={limits.of_host(1).disk}",
        "disk=",
        "lowerdir=../seed:lower1:lower0",
        "overlay=redirect_dir=on,metacopy=off",
        "fuse=",
        "os_release=ID=host\n",
        "network=first",
        f"divided={GROUP.parent}",
        "base=",
        "read_only=",
    ]
    assert lists == [
        [str(IMAGE), "/cache/second.squashfs"],
        readahead.argv(["lower0", "lower1"]),
        [str(GROUP)],
        [],
        [*PASTA, *ATTENDED, "--netns", NETNS],
        nspawn.nspawn_argv(spec, RUN_DIR),
    ]


@pytest.mark.parametrize("mode", [NetworkMode.HOST, NetworkMode.NONE])
def test_arguments_without_a_private_network_have_no_pasta(mode: NetworkMode) -> None:
    settings, *lists = parts(argv(GuestSpec(layers=(IMAGE,), network=mode)))
    assert {"network=", "divided="} <= {*settings}
    assert lists[4] == []


@pytest.mark.parametrize(("mode", "which"), [(NetworkMode.PRIVATE, "own"), (NetworkMode.NONE, "")])
def test_arguments_with_private_users_map_the_layers(mode: NetworkMode, which: str) -> None:
    settings, *lists = parts(argv(GuestSpec(layers=(IMAGE,), network=mode, private_users=True)))
    base = idmap.base(RUN_DIR.name)
    assert {f"base={base}", f"network={which}"} <= {*settings}
    assert (lists[3], bool(lists[4])) == (idmap.argv(base, ["lower0"]), bool(which))


def test_arguments_without_init_read_nothing_ahead() -> None:
    assert parts(argv(GuestSpec(layers=(IMAGE,), boot=False)))[2] == []


def test_no_argument_but_the_last_list_has_a_word_that_ends_a_list() -> None:
    spec = GuestSpec(layers=(IMAGE,), private_users=True)
    assert argv(spec)[: argv(spec).index("systemd-nspawn")].count("--") == 6


def test_constants_of_the_script_are_those_of_python() -> None:
    found = dict(re.findall(r"\b([A-Z_]+)=(\d+)", launch.SCRIPT.read_text()))
    stages = {
        "MOUNT_IMAGE": launch.MOUNT_IMAGE,
        "MOUNT_OVERLAY": launch.MOUNT_OVERLAY,
        "NETWORK": launch.NETWORK,
        "CGROUP": launch.CGROUP,
        "USERS": launch.USERS,
        "LINKS": launch.LINKS,
    }
    assert {name: int(found[name]) for name in stages} == {
        name: stage.status for name, stage in stages.items()
    }
    assert sorted(launch.STAGES) == [61, 62, 63, 64, 65, 66]
    assert int(found["MAIMED"]) not in launch.STAGES
    assert int(found["REBOOTED"]) == launch.REBOOTED
    text = launch.SCRIPT.read_text()
    assert f'"$word" = {lifeline.KEEP} ]' in text
    assert f">../{launch.STATUS}\n" in text
    assert f">../{launch.UNPACKED}\n" in text


TOOLS = (
    *(
        "chown",
        "find",
        "grep",
        "mkdir",
        "mount",
        "pasta",
        "python",
        "readlink",
        "setpriv",
        "systemd-nspawn",
    ),
    *("systemd-notify", "tar", "timeout", "umount", "unshare"),
)
REAL = ("cat", "head", "ls", "rm", "sh", "sleep", "tail", "yes")
STAND_IN = r"""#!/bin/sh
name=${0##*/}
{ printf '%s\n' "$name" "$@"; echo; } >"$LOG/$name.$$"
for failing in $FAILING; do
    if [ "$name" = "$failing" ] || { [ "$name" = mount ] && [ "$2" = "$failing" ]; }; then
        echo "$name: it failed" >&2
        exit 32
    fi
done
[ "$name" != readlink ] || { [ -e ../unshared ] && echo "$1"; exit; }
[ "$name" != pasta ] || exec sh -c "${PASTA:-exec sleep 60}"
[ "$name" != grep ] || exec /bin/grep "$1" "$2" "$INIT"
[ "$name" != systemd-nspawn ] || exec sh -c "${NSPAWN:-:}"
"""


class Run:
    """A run of the launch script: what each tool was called with, in no order, and how it ended.

    No real tool that could change this host is on the script's PATH.
    """

    def __init__(
        self,
        folder: Path,
        spec: GuestSpec,
        said: str = "",
        *,
        within: str = ".",
        divided: str = "",
        **env: str,
    ) -> None:
        run_dir = folder / within / "postroj-ab12"
        (run_dir / "mnt" / "root").mkdir(parents=True, exist_ok=True)
        (folder / "bin").mkdir()
        (folder / "log").mkdir()
        for name in REAL:
            (folder / "bin" / name).symlink_to(shutil.which(name) or name)
        for name in TOOLS:
            (folder / "bin" / name).write_text(STAND_IN)
            (folder / "bin" / name).chmod(0o755)
        self.run_dir, self.group = run_dir, folder / "cgroup.procs"
        words = argv(spec, run_dir, [self.group], Path(divided) if divided else None)
        words = words[words.index("sh") :]
        interpreter = idmap.argv(0, [])[0]
        python = str(folder / "bin" / "python")
        out, err = folder / "stdout", folder / "console"
        with out.open("wb") as stdout, err.open("wb") as stderr:
            child = subprocess.Popen(
                [python if word == interpreter else word for word in words],
                stdin=subprocess.PIPE,
                stdout=stdout,
                stderr=stderr,
                env={"PATH": f"{folder}/bin", "LOG": f"{folder}/log", "FAILING": "", **env},
                start_new_session=True,
            )
            child.communicate(said.encode(), timeout=60)
        with suppress(ProcessLookupError):  # no namespace ends these with the script
            os.killpg(child.pid, signal.SIGKILL)
        self.status, self.stdout, self.console = child.returncode, out.read_text(), err.read_text()
        self.calls = [path.read_text().splitlines()[:-1] for path in (folder / "log").iterdir()]

    def of(self, tool: str) -> list[list[str]]:
        """The arguments of each call of a tool, sorted."""
        return sorted(call[1:] for call in self.calls if call[:1] == [tool])


ALONE = GuestSpec(layers=(IMAGE,), network=NetworkMode.NONE)
GUEST = "Name:\tsystemd\nNSpid:\t17\t1\n"
"""What /proc shows of a guest's init."""
KEPT = {"said": f"{lifeline.KEEP}\n"}
"""Has the script wait for the end of nspawn."""


@pytest.mark.parametrize("odd", ODD)
def test_script_mounts_serves_and_boots_whatever_paths_are_named(odd: str, tmp_path: Path) -> None:
    layers = (tmp_path / f"{odd}.squashfs", tmp_path / "second")
    bind = Bind(source=Path("/srv") / odd, target=f"/{odd}", read_only=True)
    spec = GuestSpec(layers=layers, binds=(bind,))
    serve = "echo 17; exec sleep 60"
    run = Run(tmp_path, spec, **KEPT, within=odd, NSPAWN="echo booted; sleep 0.5", PASTA=serve)
    mnt = run.run_dir / "mnt"
    size = f"size={spec.limits.disk}"
    overlay = (
        "lowerdir=../seed:lower1:lower0,upperdir=upper,workdir=work,redirect_dir=on,metacopy=off"
    )
    assert run.of("mount") == sorted(
        [
            ["-t", "tmpfs", "-o", f"{size},mode=0755,nr_inodes=0", "tmpfs", str(mnt)],
            *(
                ["-t", "squashfs", "-o", "loop,ro,nodev", str(layer), f"lower{number}"]
                for number, layer in enumerate(layers)
            ),
            ["-t", "tmpfs", "-o", "mode=0755", "tmpfs", "/run/systemd/nspawn"],
            ["--bind", "os-release", "/etc/os-release"],
            ["-t", "overlay", "-o", overlay, "overlay", "root"],
        ]
    )
    assert ["upper", "work", "root", "lower0", "lower1"] in run.of("mkdir")
    assert run.of("unshare") == [["--net=netns", "true"]]
    assert run.of("pasta") == [[*PASTA[1:], *ATTENDED, "--netns", str(mnt / "netns")]]
    assert run.of("systemd-notify") == [["--no-block", f"{NETWORK_UP}=up"]]
    assert run.of("systemd-nspawn") == [nspawn.nspawn_argv(spec, run.run_dir)[1:]]
    assert run.of("timeout") == [readahead.argv(["lower0", "lower1"])[1:]]
    assert run.of("chown") == []
    assert (mnt / "os-release").read_text() == "ID=host\n"
    assert run.group.read_text() == "0\n"
    assert (run.run_dir / launch.STATUS).read_text() == "0\n"
    assert (run.status, run.stdout, run.console) == (0, "ended\n", "booted\n")


OWN_USERS = GuestSpec(layers=(IMAGE,), private_users=True)


def test_script_with_private_users_maps_owners_and_makes_no_network(tmp_path: Path) -> None:
    run = Run(tmp_path, OWN_USERS, **KEPT)
    base = idmap.base("postroj-ab12")
    assert run.of("python") == [idmap.argv(base, ["lower0"])[1:]]
    assert run.of("chown") == [["-R", f"{base}:{base}", "upper", "work", "../seed"]]
    assert run.of("unshare") == run.of("pasta") == []


def test_script_with_private_users_serves_the_network_of_each_boot(tmp_path: Path) -> None:
    """The one before has ended by then, and with it what it has published on the host."""
    (tmp_path / "init").write_text(GUEST)
    boot = (
        "rm -f ../unshared; sleep 0.5 & sleep 0.1; : >../unshared; wait;"
        f'set -- "$LOG"/*nspawn*; [ $# = 2 ] || exit {launch.REBOOTED}'
    )
    serve = (
        "[ -e ../unshared ] || exit;"  # else it would serve the host's
        'set -C; : >../port || exit; trap "rm ../port" TERM; echo 17; sleep 60 & wait'
    )
    run = Run(tmp_path, OWN_USERS, **KEPT, NSPAWN=boot, PASTA=serve, INIT=str(tmp_path / "init"))
    assert (run.status, run.stdout) == (0, "ended\n")
    netns = str(run.run_dir / "mnt/netns")
    assert run.of("pasta") == [[*PASTA[1:], *ATTENDED, "--netns", netns]] * 2
    assert len(run.of("systemd-notify")) == 2
    binds = [call for call in run.of("mount") if call[-1] == "netns"]
    assert len(binds) == 2 and all(re.fullmatch("/proc/[0-9]+/ns/net", one[1]) for one in binds)
    assert not (run.run_dir / "port").exists()


def test_script_with_private_users_ends_with_its_network(tmp_path: Path) -> None:
    (tmp_path / "init").write_text(GUEST)
    boot, init = ": >../unshared; sleep 5 & wait", str(tmp_path / "init")
    run = Run(tmp_path, OWN_USERS, **KEPT, NSPAWN=boot, PASTA=":", INIT=init)
    assert run.status == launch.NETWORK.status


def test_script_runs_nspawn_in_a_new_group_at_each_boot(tmp_path: Path) -> None:
    """What a boot before has divided takes no process. Folders stand in for groups."""
    for number in (1, 2):
        (tmp_path / "group" / str(number)).mkdir(parents=True)
    controllers = tmp_path / "group" / "cgroup.controllers"
    controllers.write_text("cpu memory\n")
    again = f'set -- "$LOG"/*nspawn*; [ $# = 2 ] || exit {launch.REBOOTED}'
    run = Run(tmp_path, ALONE, **KEPT, NSPAWN=again, divided=str(controllers.parent))
    assert (run.status, run.stdout) == (0, "ended\n")
    assert (controllers.parent / "cgroup.subtree_control").read_text() == "+memory\n"  # the last
    for number in (1, 2):
        assert [str(controllers.parent / str(number))] in run.of("mkdir")
        assert (controllers.parent / str(number) / "cgroup.procs").read_text() == "0\n"
    assert run.of("find") == [[str(controllers.parent / "1"), "-depth", "-type", "d", "-delete"]]


def test_script_divides_no_group_without_controllers(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").touch()
    run = Run(tmp_path, ALONE, **KEPT, divided=str(tmp_path))
    assert (run.status, len(run.of("systemd-nspawn"))) == (0, 1)
    assert [str(tmp_path / "1")] not in run.of("mkdir")


def test_script_ends_if_nspawn_cannot_join_its_group(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("memory\n")
    run = Run(tmp_path, ALONE, **KEPT, divided=str(tmp_path))
    assert (run.status, run.of("systemd-nspawn")) == (launch.CGROUP.status, [])
    assert f"{tmp_path}/1/cgroup.procs" in run.console
    assert not (run.run_dir / launch.STATUS).exists()


def test_script_of_a_read_only_guest_mounts_var_again(tmp_path: Path) -> None:
    spec = GuestSpec(layers=(IMAGE,), network=NetworkMode.NONE, read_only=True)
    run = Run(tmp_path, spec, **KEPT)
    assert ["--bind", "root/var", "var"] in run.of("mount")
    assert ["var"] in run.of("mkdir")


def test_script_starts_nspawn_again_when_its_guest_reboots(tmp_path: Path) -> None:
    again = f'set -- "$LOG"/*nspawn*; echo "boot $#"; [ $# = 3 ] || exit {launch.REBOOTED}'
    run = Run(tmp_path, ALONE, **KEPT, NSPAWN=again)
    assert (run.status, run.stdout, run.console) == (0, "ended\n", "boot 1\nboot 2\nboot 3\n")


def test_script_unpacks_a_layer_that_cannot_be_mounted(tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.touch()
    spec = GuestSpec(layers=(image,), network=NetworkMode.NONE)
    run = Run(tmp_path, spec, **KEPT, FAILING="squashfs")
    assert run.status == 0
    assert (run.run_dir / launch.UNPACKED).exists()
    ((*privileges, separator, tool, source),) = run.of("setpriv")
    assert privileges == [
        *("--no-new-privs", "--reuid=65534", "--regid=65534", "--clear-groups"),
        *("--bounding-set=-all", "--inh-caps=-all"),
    ]
    assert (separator, tool, source) == ("--", "sqfs2tar", "/proc/self/fd/3")
    assert run.of("tar") == [
        [
            *("--extract", "--numeric-owner", "--same-owner", "--same-permissions", "--xattrs"),
            *("--xattrs-include=*", "--directory", "lower0"),
        ]
    ]


def test_script_shows_why_a_layer_is_neither_mounted_nor_unpacked(tmp_path: Path) -> None:
    spec = GuestSpec(layers=(tmp_path / "none",), network=NetworkMode.NONE)
    run = Run(tmp_path, spec, FAILING="squashfs tar")
    assert run.status == launch.MOUNT_IMAGE.status
    assert "mount: it failed\n" in run.console


@pytest.mark.parametrize("kind", ["tmpfs", "overlay"])
def test_script_fails_with_the_status_of_the_step(kind: str, tmp_path: Path) -> None:
    run = Run(tmp_path, GuestSpec(layers=(IMAGE,)), FAILING=kind)
    assert (run.status, run.of("systemd-nspawn")) == (launch.MOUNT_OVERLAY.status, [])


@pytest.mark.parametrize("name", ["dev", "proc", "run", "sys", "var"])
def test_script_refuses_an_image_with_a_link_where_nspawn_mounts(name: str, tmp_path: Path) -> None:
    (tmp_path / "postroj-ab12" / "mnt" / "root").mkdir(parents=True)
    (tmp_path / "postroj-ab12" / "mnt" / "root" / name).symlink_to("/")
    spec = GuestSpec(layers=(IMAGE,), network=NetworkMode.NONE, read_only=True)
    run = Run(tmp_path, spec)
    stage = launch.MOUNT_OVERLAY if name == "var" else launch.LINKS
    assert (run.status, run.of("systemd-nspawn")) == (stage.status, [])


@pytest.mark.parametrize(
    ("status", "init"), [(255, ""), (1, ""), (137, ""), (137, "NSpid:\t9\t11\n"), (1, GUEST)]
)
def test_script_reports_the_end_of_a_guest_whatever_its_status(
    status: int, init: str, tmp_path: Path
) -> None:
    (tmp_path / "init").write_text(init)
    run = Run(tmp_path, ALONE, **KEPT, NSPAWN=f"exit {status}", INIT=str(tmp_path / "init"))
    assert (run.status, run.stdout) == (0, "ended\n")
    assert (run.run_dir / launch.STATUS).read_text() == f"{status}\n"


def test_script_ends_the_guest_of_an_nspawn_that_was_killed(tmp_path: Path) -> None:
    (tmp_path / "init").write_text(GUEST)
    run = Run(tmp_path, ALONE, **KEPT, NSPAWN="kill -KILL $$", INIT=str(tmp_path / "init"))
    assert (run.status, run.stdout) == (67, "")
    assert (run.run_dir / launch.STATUS).read_text() == "137\n"


@pytest.mark.parametrize("stream", [1, 2])
def test_script_believes_that_a_guest_was_killed_only_if_nspawn_says_so(
    stream: int, tmp_path: Path
) -> None:
    said = "Container postroj-ab12 terminated by signal KILL."
    run = Run(tmp_path, ALONE, **KEPT, NSPAWN=f"echo {said} >&{stream}; exit 1")
    assert (run.stdout, run.console) == ("ended\n", f"{said}\n")
    assert (run.run_dir / launch.KILLED).exists() is (stream == 2)


def test_script_logs_the_beginning_and_the_end_of_a_flooded_console(tmp_path: Path) -> None:
    flood = "echo the first; yes | head -c 3000000; echo the last"
    run = Run(tmp_path, ALONE, **KEPT, NSPAWN=flood)
    assert (run.status, run.stdout) == (0, "ended\n")
    assert run.console.startswith("the first\ny\n")
    assert run.console.endswith("\ny\nthe last\n")
    assert len(run.console) == (1 << 20) + (1 << 16)


def test_script_ends_with_its_network(tmp_path: Path) -> None:
    run = Run(tmp_path, GuestSpec(layers=(IMAGE,)), **KEPT, NSPAWN="sleep 5; exit", PASTA=":")
    assert run.status == launch.NETWORK.status


@pytest.mark.parametrize("word", ["", "other\n"])
def test_script_ends_with_its_lifeline(word: str, tmp_path: Path) -> None:
    spec = GuestSpec(layers=(IMAGE,), network=NetworkMode.NONE)
    run = Run(tmp_path, spec, word, NSPAWN="sleep 1; echo late >&2")
    assert run.status == 0


def test_each_stage_has_a_failure_and_a_hint() -> None:
    assert all(stage.failure and stage.hint for stage in launch.STAGES.values())
