"""The command lines of the launch script, of qemu and of ssh."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from postroj.container.cgroup import memory
from postroj.container.limits import Asked, Limits
from postroj.container.spec import Accelerator, GuestSpec, Machine
from postroj.errors import HostError
from postroj.image import architectures
from postroj.machine import qemu, server
from postroj.model import NetworkMode
from postroj.process import CONTAINED
from tests.support.kernels import silent_kernel

RUN_DIR = Path("/run/postroj/postroj-0a1b2c3d")
MACHINE = Machine(
    architecture="x86_64",
    accelerator=Accelerator.KVM,
    kernel=Path("/layers/kernel.squashfs"),
    tools=(Path("/images/debian.squashfs"), Path("/layers/tools.squashfs")),
)
SPEC = GuestSpec(layers=(Path("/images/own.squashfs"), Path("/layers/udev.squashfs")))
EMULATED = replace(MACHINE, accelerator=Accelerator.TCG)
MIB = 1 << 20


@pytest.fixture(autouse=True)
def host(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the host 8 GiB of memory and 16 processors."""
    monkeypatch.setattr(memory, "available", lambda: 8192 * MIB)
    monkeypatch.setattr(os, "cpu_count", lambda: 16)


def values(argv: list[str], option: str) -> list[str]:
    """Return the values of an option that is given several times."""
    return [value for word, value in itertools.pairwise(argv) if word == option]


def has(argv: list[str], *words: str) -> bool:
    """Whether these words stand side by side."""
    places = range(len(argv) - len(words) + 1)
    return any(tuple(argv[place : place + len(words)]) == words for place in places)


def test_machine_argv_has_five_lists_divided_by_dashes() -> None:
    groups = [Path("/sys/fs/cgroup/postroj/cgroup.procs")]
    argv = qemu.machine_argv(SPEC, MACHINE, RUN_DIR, groups, ["passt", "--quiet"])
    lists: list[list[str]] = [[]]
    for word in argv[len(CONTAINED) :]:
        if word == "--":
            lists.append([])
        else:
            lists[-1].append(word)
    assert tuple(argv[: len(CONTAINED)]) == CONTAINED
    assert lists == [
        ["sh", str(qemu.SCRIPT), f"run_dir={RUN_DIR}", f"size={SPEC.limits.disk}"],
        [str(groups[0])],
        ["passt", "--quiet"],
        qemu.qemu_argv(SPEC, MACHINE, RUN_DIR),
        qemu.master_argv(RUN_DIR),
    ]


def test_machine_argv_without_a_network_has_an_empty_list_for_passt() -> None:
    spec = replace(SPEC, network=NetworkMode.NONE)
    argv = qemu.machine_argv(spec, MACHINE, RUN_DIR, [], [])
    assert has(argv, "--", "--", "--", "qemu-system-x86_64")


def test_qemu_argv_of_the_disks() -> None:
    argv = qemu.qemu_argv(SPEC, MACHINE, RUN_DIR)
    drives = [
        dict(pair.split("=", 1) for pair in text.split(",")) for text in values(argv, "-drive")
    ]
    assert [(drive["id"], drive["file"]) for drive in drives] == [
        ("seed", f"{RUN_DIR}/seed.tar"),
        ("tools0", "/images/debian.squashfs"),
        ("tools1", "/layers/tools.squashfs"),
        ("layer0", "/images/own.squashfs"),
        ("layer1", "/layers/udev.squashfs"),
        ("layer2", "/layers/kernel.squashfs"),
        ("files", f"{RUN_DIR}/mnt/files"),
    ]
    assert [drive["id"] for drive in drives if drive.get("readonly") != "on"] == ["files"]
    assert {drive["format"] for drive in drives} == {"raw"}  # or a guest could make it a qcow2
    serials = [text for text in values(argv, "-device") if text.startswith("virtio-blk-pci")]
    names = [drive["id"] for drive in drives]
    assert serials == [f"virtio-blk-pci,drive={name},serial={name}" for name in names]


def test_disk_with_a_comma_in_its_path() -> None:
    drive = qemu.disk("layer0", Path("/images/a,b,readonly=off.squashfs"))[1]
    assert drive.endswith(",readonly=on,file=/images/a,,b,,readonly=off.squashfs")


def test_qemu_argv_with_a_comma_in_the_run_directory() -> None:
    argv = qemu.qemu_argv(SPEC, MACHINE, Path("/run/a,b/postroj-0a1b2c3d"))
    texts = [*values(argv, "-chardev"), *values(argv, "-drive"), *values(argv, "-netdev")]
    places = [text for text in texts if "/run/a" in text]
    assert len(places) == 5
    assert all("/run/a,,b/" in text for text in places)


@pytest.mark.parametrize("option", ["-chardev", "-drive"])
@pytest.mark.skipif(not shutil.which("qemu-system-x86_64"), reason="no qemu")
def test_qemu_understands_the_doubled_comma(tmp_path: Path, option: str) -> None:
    folder = tmp_path / "a,b"
    folder.mkdir()
    escaped = str(folder / "none").replace(",", ",,")
    rest = {
        "-chardev": f"pipe,id=line,path={escaped}",
        "-drive": f"if=none,id=x,format=raw,file={escaped}",
    }
    argv = ["qemu-system-x86_64", "-machine", "none", "-display", "none", option, rest[option]]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 1
    assert f"{folder}/none" in done.stderr
    assert "No such file" in done.stderr


def test_qemu_argv_with_a_private_network() -> None:
    argv = qemu.qemu_argv(SPEC, MACHINE, RUN_DIR)
    netdev = f"stream,id=net,server=off,addr.type=unix,addr.path={RUN_DIR}/net/passt"
    assert has(argv, "-netdev", netdev, "-device", "virtio-net-pci,netdev=net,romfile=")


def test_qemu_argv_without_a_network() -> None:
    argv = qemu.qemu_argv(replace(SPEC, network=NetworkMode.NONE), MACHINE, RUN_DIR)
    assert "-nodefaults" in argv  # else it has a network of its own
    assert "-netdev" not in argv
    assert not [text for text in values(argv, "-device") if "net" in text]


def test_qemu_argv_gives_up_privileges() -> None:
    argv = qemu.qemu_argv(SPEC, MACHINE, RUN_DIR)
    assert has(argv, "-runas", "nobody")
    (sandbox,) = values(argv, "-sandbox")
    assert sandbox.split(",") == ["on", "obsolete=deny", "spawn=deny", "resourcecontrol=deny"]


def test_qemu_argv_ends_with_its_guest() -> None:
    argv = qemu.qemu_argv(SPEC, MACHINE, RUN_DIR)
    (line,) = values(argv, "-append")
    assert "-no-reboot" in argv
    assert "panic=-1" in line.split()  # reboot at once


@pytest.mark.parametrize(
    ("machine", "program", "kind", "processor", "console"),
    [
        (MACHINE, "qemu-system-x86_64", "q35", "host", "ttyS0"),
        (EMULATED, "qemu-system-x86_64", "q35", "Nehalem-v1", "ttyS0"),
        (
            replace(EMULATED, architecture="aarch64"),
            *("qemu-system-aarch64", "virt,gic-version=max", "cortex-a57", "ttyAMA0"),
        ),
    ],
)
def test_qemu_argv_by_architecture(
    machine: Machine, program: str, kind: str, processor: str, console: str
) -> None:
    argv = qemu.qemu_argv(SPEC, machine, RUN_DIR)
    assert argv[0] == program
    assert values(argv, "-machine") == [kind]
    assert values(argv, "-accel")[0].partition(",")[0] == machine.accelerator
    assert values(argv, "-cpu") == [processor]
    assert values(argv, "-append")[0].split()[0] == f"console={console}"


@pytest.mark.parametrize("architecture", sorted(qemu.PROGRAMS))
def test_qemu_understands_the_command_line_of_each_architecture(
    tmp_path: Path, architecture: str
) -> None:
    """It opens all files and makes all devices, and ends before the guest would run."""
    if not shutil.which(qemu.PROGRAMS[architecture]):
        pytest.skip(f"no {qemu.PROGRAMS[architecture]}")
    for name in ("seed.tar", "vmlinuz", "initrd", "mnt/files", "layer"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(silent_kernel())
    for name in ("line.in", "line.out", "monitor.in", "monitor.out"):
        os.mkfifo(tmp_path / name)
    machine = replace(
        EMULATED, architecture=architecture, kernel=tmp_path / "layer", tools=(tmp_path / "layer",)
    )
    spec = replace(SPEC, layers=(tmp_path / "layer",), network=NetworkMode.NONE)
    argv = qemu.qemu_argv(replace(spec, asked=Asked(cpus=16)), machine, tmp_path)
    rest = [word for word in argv if word not in ("-runas", "nobody")]  # only root can
    with (tmp_path / "monitor.in").open("r+b", buffering=0) as orders:
        orders.write(b'{"execute": "qmp_capabilities"}\n{"execute": "quit"}\n')
        done = subprocess.run(
            [*rest, "-S"], stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False
        )
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize(("host", "is_named"), [("x86_64", True), ("aarch64", False)])
def test_require_names_the_architecture_if_it_is_another(
    monkeypatch: pytest.MonkeyPatch, host: str, *, is_named: bool
) -> None:
    monkeypatch.setattr("postroj.process.search_path", lambda: "/nonexistent")
    monkeypatch.setattr(architectures, "of_this_host", lambda: host)
    with pytest.raises(HostError) as caught:
        qemu.require("aarch64")
    assert caught.value.message == "'qemu-system-aarch64' is not installed on this host"
    hint = "`postroj doctor --fix --arch aarch64` installs it"
    assert (caught.value.hint == hint) is is_named


def test_kernel_command_line_omits_mitigations_only_where_they_are_emulated() -> None:
    assert "mitigations=off" in qemu.kernel_command_line(EMULATED)
    assert "mitigations=off" not in qemu.kernel_command_line(MACHINE)


def test_kernel_command_line_is_shorter_than_the_kernel_reads() -> None:
    """COMMAND_LINE_SIZE is 2048 bytes on x86 and arm64."""
    assert len(" ".join(qemu.kernel_command_line(EMULATED))) < 2048


def test_trial_argv_boots_with_kvm_and_without_disks() -> None:
    argv = qemu.trial_argv("x86_64", Path("/trial"))
    assert has(argv, "-machine", "q35,accel=kvm", "-cpu", "host")
    assert has(argv, "-kernel", "/trial/vmlinuz", "-initrd", "/trial/initrd")
    assert "-no-reboot" in argv
    assert "-drive" not in argv
    assert "postroj.trial" in values(argv, "-append")[0].split()
    assert "postroj.trial" in qemu.SCRIPT.with_name("init.sh").read_text()
    assert f"echo '{qemu.BOOTED}'" in qemu.SCRIPT.with_name("init.sh").read_text()


@pytest.mark.parametrize(
    ("spec", "memory"),
    [
        # of 8 GiB three quarters are shared, of which two thirds can be written
        (SPEC, 2048 * MIB),
        (replace(SPEC, guests=4), 512 * MIB),
        (replace(SPEC, asked=Asked(memory=700 * MIB)), 700 * MIB),
        (replace(SPEC, asked=Asked(memory=6000 * MIB)), 6000 * MIB),
    ],
)
def test_memory_of(spec: GuestSpec, memory: int) -> None:
    assert qemu.memory_of(spec) == memory
    argv = qemu.qemu_argv(spec, MACHINE, RUN_DIR)
    assert values(argv, "-m") == [f"{memory // MIB}M"]


@pytest.mark.parametrize(
    ("asked", "number"), [(None, 4), (0.5, 1), (1, 1), (1.5, 2), (2.0, 2), (8, 8)]
)
def test_cpus_of(asked: float | None, number: int) -> None:
    spec = replace(SPEC, asked=Asked(cpus=asked))
    for accelerator in Accelerator:
        usual = 1 if asked is None and accelerator is Accelerator.TCG else number
        assert qemu.cpus_of(spec, accelerator) == usual
        argv = qemu.qemu_argv(spec, replace(MACHINE, accelerator=accelerator), RUN_DIR)
        assert values(argv, "-smp") == [str(usual)]


@pytest.mark.parametrize(("processors", "number"), [(1, 1), (3, 3), (None, 1)])
def test_cpus_of_a_small_host(
    processors: int | None, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: processors)
    assert qemu.cpus_of(SPEC, Accelerator.KVM) == number


def test_limits_of_has_room_for_memory_files_and_qemu() -> None:
    spec = replace(SPEC, asked=Asked(memory=600 * MIB, cpus=1.5, processes=100))
    found = qemu.limits_of(spec, Accelerator.KVM)
    assert found == Limits(
        memory=600 * MIB + 400 * MIB + qemu.OVERHEAD,
        disk=400 * MIB,
        processes=100,
        cpus=1.5,
        asked=("cpu", "pids"),
    )


@pytest.mark.parametrize(
    ("asked", "by_groups"),
    [
        (Asked(memory=600 * MIB), ()),
        (Asked(cpus=2), ()),
        (Asked(cpus=1.5), ("cpu",)),
        (Asked(processes=100), ("pids",)),
    ],
)
def test_limits_of_needs_no_control_groups_for_what_qemu_limits(
    asked: Asked, by_groups: tuple[str, ...]
) -> None:
    """Many hosts give a user no controllers."""
    assert qemu.limits_of(replace(SPEC, asked=asked), Accelerator.KVM).asked == by_groups


def test_passt_argv() -> None:
    argv = qemu.passt_argv(RUN_DIR, ["--tcp-ports", "none"])
    assert argv[0] == "passt"
    assert has(argv, "--socket", f"{RUN_DIR}/net/passt")
    assert "--foreground" in argv  # the launch script watches it
    assert "--no-map-gw" in argv  # or the gateway's address would lead to the host's loopback
    assert argv[-2:] == ["--tcp-ports", "none"]


def test_master_argv_leads_through_the_socket_to_the_server() -> None:
    argv = qemu.master_argv(RUN_DIR)
    assert has(argv, "-S", f"{RUN_DIR}/ssh")
    assert has(argv, "-L", f"{RUN_DIR}/answers:{server.SOCKET}")
    assert "ControlMaster=yes" in argv
    assert f"ProxyCommand={sys.executable} -I -S {qemu.PROXY} line" in argv
    assert "ProxyUseFdpass=yes" in argv
    line = f"socket,id=line,server=on,wait=off,path={RUN_DIR}/line"
    assert line in values(qemu.qemu_argv(SPEC, MACHINE, RUN_DIR), "-chardev")


@pytest.mark.parametrize("accelerator", Accelerator)
def test_devices_are_told_at_once_without_kvm(accelerator: Accelerator) -> None:
    argv = qemu.qemu_argv(SPEC, replace(MACHINE, accelerator=accelerator), RUN_DIR)
    is_at_once = "virtio-pci.ioeventfd=off" in values(argv, "-global")
    assert is_at_once == (accelerator is Accelerator.TCG)


def test_ssh_argv() -> None:
    argv = qemu.ssh_argv(RUN_DIR, "echo $x", ["http_proxy", "TOKEN"])
    assert has(argv, "-S", f"{RUN_DIR}/ssh", "-o", "SendEnv=http_proxy", "-o", "SendEnv=TOKEN")
    assert "ControlMaster=no" in argv
    assert argv[-3:] == ["-tt", "root@guest", "echo $x"]


@pytest.mark.skipif(not shutil.which("ssh"), reason="no ssh")
@pytest.mark.parametrize("kind", ["master", "command"])
def test_ssh_understands_its_options_and_reads_no_settings(kind: str) -> None:
    """`-G` prints what ssh would do, and connects to nothing."""
    argv = (
        qemu.master_argv(RUN_DIR)
        if kind == "master"
        else qemu.ssh_argv(RUN_DIR, "true", ["http_proxy"])
    )
    done = subprocess.run(
        [argv[0], "-G", *argv[1:]], capture_output=True, text=True, check=True, timeout=30
    )
    settings = dict(line.partition(" ")[::2] for line in done.stdout.splitlines())
    assert settings["controlpath"] == f"{RUN_DIR}/ssh"
    assert settings["stricthostkeychecking"] in ("no", "false")
    assert settings["userknownhostsfile"] == "/dev/null"
    assert settings["escapechar"] == "none"
    if kind == "master":
        assert settings["localforward"] == f"{RUN_DIR}/answers /run/answers"
    else:
        assert settings["sendenv"] == "http_proxy"
