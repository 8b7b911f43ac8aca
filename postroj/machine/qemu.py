"""The command line of `machine.sh`, of qemu in it, and of ssh, which leads into the guest.

Nothing is run here. docs/explanation/machines.rst has facts and measurements.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from postroj.container.boot.launch import Stage
from postroj.container.boot.masks import KERNEL_COMMAND_LINE
from postroj.container.spec import Accelerator
from postroj.errors import HostError
from postroj.image import architectures
from postroj.machine.kernel_layer import INITRD, KERNEL
from postroj.machine.server import PORT, SOCKET
from postroj.model import NetworkMode
from postroj.process import CONTAINED, tool

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from postroj.container.limits import Limits
    from postroj.container.spec import GuestSpec, Machine

SCRIPT = Path(__file__).with_name("machine.sh")
PROXY = Path(__file__).with_name("proxy.py")
CALL = Path(__file__).with_name("call.py")
PYTHON = (sys.executable, "-I", "-S")
"""Python for programs that import nothing but its own modules, which begin quickly."""

PROGRAMS = {"x86_64": "qemu-system-x86_64", "aarch64": "qemu-system-aarch64"}
"""qemu's program by the architecture of its guest."""
CONSOLES = {"x86_64": "ttyS0", "aarch64": "ttyAMA0"}
EMULATED = {"x86_64": "Nehalem-v1", "aarch64": "cortex-a57"}
"""Processors without what takes long to emulate, as AVX; Nehalem has all of x86-64-v2."""
MODELS = {"x86_64": "q35", "aarch64": "virt,gic-version=max"}
"""The default interrupt controller of `virt` knows no more than eight processors."""

BOOTED = "postroj: booted"
"""What init.sh prints at first."""
ENDING = "ending"
"""File of the run directory with the reason for qemu's last end, `RunState` of qemu's QMP."""
BOOTS = "boots"
"""File of the run directory with the number of boots."""
LINE = "line"
"""Socket of the run directory through which ssh reaches the guest."""
MONITOR = "monitor"
SSH = "ssh"
"""Socket of the run directory through which commands share one connection of ssh."""
ANSWERS = "answers"
"""Socket of the run directory that leads to the server in the machine."""
NET = "net/passt"
"""Socket of the run directory, in a folder that belongs to nobody, as whom passt runs."""

MOST_MEMORY = 2 << 30
"""Bytes of memory of a machine, unless the user wants more."""
OVERHEAD = 640 << 20
"""Bytes that qemu, passt and ssh take at most, with what qemu has translated."""
ACCELERATION = {Accelerator.KVM: "kvm", Accelerator.TCG: "tcg,tb-size=256"}
"""tb-size: MiB of translated instructions, else 1024."""
SYNCHRONOUS = ("-global", "virtio-pci.ioeventfd=off")
"""For a machine without KVM: what the guest tells a device is taken at once, in the thread of its
processor, so no other thread can miss it. Whether one did is not known; all numbers have it."""
MOST_CPUS = 4
EMULATED_CPUS = 1
"""Of two that qemu 7.2 emulates, each waits for the other for ever in about one of 30 boots: for an
interrupt that it has sent to the other (vector 0xfb, Linux's call of a function)."""

DISK = Stage(
    status=61,
    failure="there is no room for the disk of the guest",
    hint="is the memory of this host used up? `postroj ps` shows the guests that run",
)
NETWORK = Stage(
    status=63,
    failure="the guest's network could not be set up",
    hint="is passt installed? `--network=none` needs none",
)
CGROUP = Stage(
    status=64,
    failure="the guest's control group could not be joined",
    hint="`postroj doctor` shows whether control groups are writable here",
)
STAGES = {stage.status: stage for stage in (DISK, NETWORK, CGROUP)}

SANDBOX = "on,obsolete=deny,spawn=deny,resourcecontrol=deny"
"""System calls that qemu denies itself, qemu(1)."""


def require(architecture: str) -> None:
    """Ensure that this host has the qemu for guests of an architecture.

    :raises HostError: if it lacks it.
    """
    try:
        tool(PROGRAMS[architecture])
    except HostError as error:
        if architecture != architectures.of_this_host():
            error.hint = f"`postroj doctor --fix --arch {architecture}` installs it"
        raise


def machine_argv(
    spec: GuestSpec, machine: Machine, run_dir: Path, groups: Sequence[Path], passt: Sequence[str]
) -> list[str]:
    """Return the command that runs the machine of `spec` for as long as its stdin is open.

    The script is PID 1 of a PID namespace, so that the kernel ends qemu, ssh and passt with it.
    `groups` are the files of control groups to join.
    """
    lists = (map(str, groups), passt, qemu_argv(spec, machine, run_dir), master_argv(run_dir))
    return [
        *(*CONTAINED, "sh", str(SCRIPT)),
        *(f"run_dir={run_dir}", f"size={spec.limits.disk}"),
        *(word for words in lists for word in ("--", *words)),
    ]


def memory_of(spec: GuestSpec) -> int:
    """Return the bytes of memory of the machine: what was asked for, or the share of this host."""
    limits = spec.limits
    return spec.asked.memory or min(MOST_MEMORY, (limits.memory - limits.disk) >> 20 << 20)


def cpus_of(spec: GuestSpec, accelerator: Accelerator) -> int:
    """Return the number of the machine's processors; a part of one counts as one."""
    is_emulated = accelerator is Accelerator.TCG
    usual = EMULATED_CPUS if is_emulated else min(MOST_CPUS, os.cpu_count() or 1)
    wanted = spec.limits.cpus or usual
    return max(1, -int(-wanted // 1))


def qemu_argv(spec: GuestSpec, machine: Machine, run_dir: Path) -> list[str]:
    """Return qemu's command line; it ends when the guest shuts down or reboots.

    It opens its files as root and becomes nobody before the guest runs: in the user namespace of a
    user, the subordinate number that stands for nobody.
    """
    return [
        *(PROGRAMS[machine.architecture], "-nodefaults", "-no-user-config", "-no-reboot"),
        *("-display", "none", "-sandbox", SANDBOX, "-runas", "nobody"),
        *("-name", f"guest={run_dir.name},process=qemu"),
        *("-machine", MODELS[machine.architecture]),
        *("-accel", ACCELERATION[machine.accelerator]),
        *(() if machine.accelerator is Accelerator.KVM else SYNCHRONOUS),
        *("-cpu", cpu_model(machine.architecture, machine.accelerator)),
        *("-m", f"{memory_of(spec) >> 20}M", "-smp", str(cpus_of(spec, machine.accelerator))),
        *("-kernel", str(run_dir / KERNEL), "-initrd", str(run_dir / INITRD)),
        *("-append", " ".join(kernel_command_line(machine))),
        *("-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console"),
        *("-chardev", f"pipe,id=monitor,path={_escaped(run_dir / MONITOR)}"),
        *("-mon", "chardev=monitor,mode=control"),
        *("-device", "virtio-rng-pci", "-device", "virtio-serial-pci"),
        *("-chardev", f"socket,id=line,server=on,wait=off,path={_escaped(run_dir / LINE)}"),
        *("-device", f"virtserialport,chardev=line,name={PORT}"),
        *disk("seed", run_dir / "seed.tar"),
        *(
            word
            for number, path in enumerate(machine.tools)
            for word in disk(f"tools{number}", path)
        ),
        *(
            word
            for number, path in enumerate(layers(spec, machine))
            for word in disk(f"layer{number}", path)
        ),
        *disk("files", run_dir / "mnt" / "files", writable=True),
        *(network_device(run_dir) if spec.network is NetworkMode.PRIVATE else ()),
    ]


def cpu_model(architecture: str, accelerator: Accelerator) -> str:
    """Return the model of the processor: the host's, or one that qemu emulates quickly."""
    return "host" if accelerator is Accelerator.KVM else EMULATED[architecture]


def trial_argv(architecture: str, folder: Path) -> list[str]:
    """Return the qemu that tries KVM with the kernel in a folder, and ends by itself.

    It prints `BOOTED` when the kernel has started its initrd.
    """
    console = CONSOLES[architecture]
    return [
        *(PROGRAMS[architecture], "-nodefaults", "-no-user-config", "-no-reboot"),
        *("-display", "none", "-sandbox", SANDBOX, "-runas", "nobody", "-serial", "stdio"),
        *("-machine", f"{MODELS[architecture]},accel=kvm", "-cpu", "host", "-m", "512M"),
        *("-kernel", str(folder / KERNEL), "-initrd", str(folder / INITRD)),
        *("-append", f"console={console} panic=-1 loglevel=4 postroj.trial"),
    ]


def layers(spec: GuestSpec, machine: Machine) -> tuple[Path, ...]:
    """Return the layers of the guest's root file system, the lowest first."""
    return (*spec.layers, machine.kernel)


def disk(name: str, path: Path, *, writable: bool = False) -> list[str]:
    """Return the options for a disk with the serial number `name`.

    What the guest writes need not outlive this host, so nothing waits for its disk.
    """
    mode = "cache=unsafe,discard=unmap" if writable else "readonly=on"
    file = f"file.locking=off,{mode},file={_escaped(path)}"
    return [
        *("-drive", f"if=none,id={name},format=raw,{file}"),
        *("-device", f"virtio-blk-pci,drive={name},serial={name}"),
    ]


def _escaped(path: Path) -> str:
    """Return a path as a value among others, which commas divide."""
    return str(path).replace(",", ",,")


def network_device(run_dir: Path) -> list[str]:
    """Return the options for a network that passt serves."""
    where = f"addr.type=unix,addr.path={_escaped(run_dir / NET)}"
    return [
        *("-netdev", f"stream,id=net,server=off,{where}"),
        *("-device", "virtio-net-pci,netdev=net,romfile="),
    ]


def kernel_command_line(machine: Machine) -> list[str]:
    """Return the words of the kernel's command line."""
    quick = () if machine.accelerator is Accelerator.KVM else ("mitigations=off",)
    return [
        *(f"console={CONSOLES[machine.architecture]}", "panic=-1", "loglevel=4"),
        *("net.ifnames=0", "systemd.show_status=no", *quick, *KERNEL_COMMAND_LINE),
    ]


def passt_argv(run_dir: Path, options: Sequence[str]) -> list[str]:
    """Return passt in the foreground; `options` are those that it shares with pasta."""
    return [
        "passt",
        "--foreground",
        "--quiet",
        "--no-map-gw",
        "--socket",
        str(run_dir / NET),
        *options,
    ]


OPTIONS = (
    *("-F", "none", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"),
    *("-o", "GlobalKnownHostsFile=/dev/null", "-o", "PreferredAuthentications=none"),
    *("-o", "LogLevel=ERROR", "-o", "EscapeChar=none"),
)
"""ssh without the user's settings; the line is private, so there is nobody to recognise."""
GUEST = "root@guest"


def master_argv(run_dir: Path) -> list[str]:
    """Return the ssh whose connection all commands share.

    It runs in the run directory.
    """
    proxy = shlex.join([*PYTHON, str(PROXY), LINE]).replace("%", "%%")
    return [
        *("ssh", *OPTIONS, "-o", f"ProxyCommand={proxy}", "-o", "ProxyUseFdpass=yes"),
        *("-o", "ControlMaster=yes", "-S", str(run_dir / SSH)),
        *("-o", "ExitOnForwardFailure=yes"),
        *("-o", "StreamLocalBindUnlink=yes", "-L", f"{run_dir / ANSWERS}:{SOCKET}"),
        # a byte that qemu or the guest holds back comes with the next one; a slow guest may be late
        *("-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=1000000"),
        # allows those who share the connection to send variables of their choice
        *("-o", "SendEnv=*", "-N", "-T", GUEST),
    ]


def ssh_argv(run_dir: Path, script: str, names: Sequence[str]) -> list[str]:
    """Return the ssh that runs a shell script in the machine, with a terminal.

    It passes the variables of these names on.
    """
    variables = [word for name in names for word in ("-o", f"SendEnv={name}")]
    return [
        *("ssh", *OPTIONS, "-o", "ControlMaster=no", "-S", str(run_dir / SSH), *variables),
        *("-tt", GUEST, script),
    ]


def call_argv(run_dir: Path, request: Mapping[str, object]) -> list[str]:
    """Return the program that runs a command in the machine, without a terminal."""
    return [*PYTHON, str(CALL), str(run_dir / ANSWERS), json.dumps(request)]


def limits_of(spec: GuestSpec, accelerator: Accelerator) -> Limits:
    """Return the limits of all that runs for a machine on this host.

    What qemu gives the guest of memory and whole processors is a limit by itself, for which this
    host needs no control groups.
    """
    memory = memory_of(spec) + spec.limits.disk + OVERHEAD
    is_whole = spec.limits.cpus == cpus_of(spec, accelerator)
    own = {"memory", *(["cpu"] if is_whole else [])}
    asked = tuple(name for name in spec.limits.asked if name not in own)
    return replace(spec.limits, memory=memory, asked=asked)
