"""Rules about what a container lacks, with logs of real packages, and faults that look alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from postroj.probe.ask.facts import Facts
from postroj.probe.ask.lacking import of_facts

if TYPE_CHECKING:
    from collections.abc import Collection

NSPAWN = frozenset(
    {
        "SYS_MODULE",
        "SYS_RAWIO",
        "SYS_PACCT",
        "SYS_RESOURCE",
        "SYS_TIME",
        "SYSLOG",
        "BPF",
        "NET_ADMIN",
    }
)
OF_USER = NSPAWN | {"MKNOD", "SYS_NICE"}
"""What a guest of a user without root lacks."""
EVERY = (
    "cap_sys_time cap_sys_pacct cap_sys_module cap_bpf cap_sys_rawio cap_syslog cap_net_admin"
    " cap_mknod cap_sys_nice cap_sys_admin"
)


def need(
    *log: str,
    unit: dict[str, str] | None = None,
    present: Collection[str] = (),
    program: bytes = b"",
    writable: Collection[str] = (),
    is_silent: bool = False,
    daemon: bytes = b"",
    lacking: frozenset[str] = NSPAWN,
) -> str:
    facts = Facts(
        unit={"ExecMainStatus": "1", "CapabilityBoundingSet": EVERY} | (unit or {}),
        log=log,
        is_silent=is_silent,
        lacking=lacking,
        has=lambda path: path in present,
        writes=lambda path: path in writable,
        program=lambda: program,
        daemon=lambda: daemon,
        file_systems=frozenset({"proc", "tmpfs"}),
    )
    return of_facts(facts)


TTY = {"ExecMainStatus": "208", "StandardInput": "tty", "TTYPath": "/dev/tty8"}
STDIN = "gcpegg.service: Failed to set up standard input: No such file or directory"
AUDIT = (
    "Error sending status request (Operation not permitted)",
    "Unable to set initial audit startup state to 'enable', exiting",
)
ACCT = "accton: Operation not permitted"
ZRAM = (
    "/usr/sbin/zramswap: line 52: modprobe: command not found",
    "Error: inserting the zram kernel module",
)
DRBD = (
    "/lib/drbd/scripts/drbd: line 62: /sbin/modprobe: No such file or directory",
    "Can not load the drbd module.",
)
NFSD = "mount: /proc/fs/nfsd: unknown filesystem type 'nfsd'."
USB = "loadFiles: /sys/bus/usb/devices: No such file or directory"
MICE = "Could not open /dev/input/mice."
SYSCTL = 'sysctl: setting key "kernel.x": /proc/sys/kernel/x: Read-only file system'
ACL = "setfacl: /var/spool/cron/crontabs: Operation not supported"
WATCHES = 'sysctl: permission denied on key "fs.inotify.max_user_watches"'
SWAPON = (
    "computing size, want /var/swap=48230MByte, restricting to config limit: 2048MBytes",
    "swapon: /var/swap: swapon failed: Invalid argument",
    "dphys-swapfile.service: Main process exited, code=exited, status=255/EXCEPTION",
)
FLAGS = "chattr: Operation not supported while reading flags on /etc/resolv.conf"
KERNEL = ("The following options are missing in the kernel:", "\tCONFIG_CRYPTO_USER_API_HASH")
AMBIENT = {"ExecMainStatus": "218", "AmbientCapabilities": "cap_net_bind_service cap_sys_time"}
MOUNT = (
    "x.service: Failed to set up mount namespacing: /run/systemd/unit-root/sys/fs/bpf:"
    " No such file or directory"
)
USER_217 = {"ExecMainStatus": "217"}
AMBIENT_OF_GUEST = {"ExecMainStatus": "218", "AmbientCapabilities": "cap_net_raw"}
CLOCK = "adjtimex(0x8001) failed : Operation not permitted"

IPTABLES = (
    "iptables-restore v1.8.9 (legacy): iptables-restore: unable to initialize table 'mangle'",
    "Error occurred at line: 1",
)
ALSA = (
    "ALSA lib confmisc.c:165:(snd_config_get_card) Cannot get card index for 0",
    "*** ERROR: Open capture audio device failed: No such file or directory",
)


@pytest.mark.parametrize(
    ("log", "more", "said"),
    [
        ([STDIN], {"unit": TTY}, "the device '/dev/tty8'"),
        (AUDIT, {"program": b"\x7fELF\0audit_set_pid\0"}, "the kernel's audit"),
        ([ACCT], {"program": b"\x7fELF\0acct\0"}, "process accounting (CAP_SYS_PACCT)"),
        (
            ["cannot switch on process accounting: Operation not permitted"],
            {},
            "process accounting (CAP_SYS_PACCT)",
        ),
        (ZRAM, {}, "the kernel module zram"),
        (DRBD, {}, "the kernel module drbd"),
        (["modprobe: FATAL: Module kvm not found in directory /lib/modules/6.1"], {}, "kvm"),
        (
            ["sh: 1: modprobe: not found"],
            {"unit": {"ExecMainStatus": "127"}},
            "to load kernel modules",
        ),
        (
            ["x.service: Failed at step EXEC spawning /sbin/modprobe: No such file or directory"],
            {"unit": {"ExecMainStatus": "203"}},
            "to load kernel modules",
        ),
        ([NFSD], {}, "the file system nfsd of the kernel"),
        (
            [ACL, "dpkg: error processing package bcron (--configure):"],
            {"present": ["/var/spool/cron/crontabs"]},
            "access control lists of '/var/spool/cron/crontabs'",
        ),
        (["bird: capset: Operation not permitted"], {}, "capabilities that a machine's root has"),
        (SWAPON, {"unit": {"ExecMainStatus": "255"}}, "swap"),
        ([FLAGS], {"present": ["/etc/resolv.conf"]}, "attributes of '/etc/resolv.conf'"),
        ([USB], {}, "'/sys/bus/usb/devices'"),
        ([MICE], {}, "the device '/dev/input/mice'"),
        (["radioclkd: couldn't open device /dev/ttyS0"], {}, "the device '/dev/ttyS0'"),
        (["cannot open /dev/vcsu1, /dev/md/home"], {}, "the device '/dev/vcsu1'"),
        (["cannot open /dev/md/home"], {}, "the device '/dev/md/home'"),
        ([SYSCTL], {"present": ["/proc/sys/kernel/x"]}, "to write to '/proc/sys/kernel/x'"),
        (
            [WATCHES],
            {"present": ["/proc/sys/fs/inotify/max_user_watches"]},
            "to write to '/proc/sys/fs/inotify/max_user_watches'",
        ),
        (KERNEL, {}, "the kernel's option CONFIG_CRYPTO_USER_API_HASH"),
        (["x"], {"unit": AMBIENT}, "the capability CAP_SYS_TIME"),
        ([MOUNT], {"unit": {"ExecMainStatus": "226"}}, "'/sys/fs/bpf'"),
        ([CLOCK], {}, "to set the clock (CAP_SYS_TIME)"),
        (IPTABLES, {}, "to change the network (CAP_NET_ADMIN)"),
        (
            ("/etc/rules:3:1-14: Error: Could not process rule: Operation not permitted",),
            {},
            "to change the network (CAP_NET_ADMIN)",
        ),
        (ALSA, {}, "a sound card"),
        (["unable to open output device: default"], {}, "a sound card"),
        (["rasdaemon: Can't find debugfs"], {}, "debugfs"),
        (["no watchdog device, load a watchdog driver"], {}, "a watchdog"),
        (["could not find inband device"], {}, "IPMI"),
        (
            ["can not create NETLINK_ISCSI socket [Protocol not supported]"],
            {},
            "iSCSI of the kernel",
        ),
        (["socket(AF_BLUETOOTH): Address family not supported by protocol"], {}, "AF_BLUETOOTH"),
        (["could not open PF_KEY socket: Protocol not supported"], {}, "PF_KEY"),
        (["no suitable SCTP/UDP socket pair: Socket type not supported"], {}, "SCTP"),
        (
            ["ksm.service: Main process exited, code=exited, status=1/FAILURE"],
            {
                "is_silent": True,
                "program": b"\x7fELF\0/sys/kernel/mm/ksm/run\0",
                "present": ["/sys/kernel/mm/ksm/run"],
            },
            "to write to '/sys/kernel/mm/ksm/run'",
        ),
        (
            ["ras-mc-ctl.service: Failed with result 'exit-code'."],
            {"is_silent": True, "program": b"#!/usr/bin/perl\nopen IN, '/proc/modules' or exit 1;"},
            "'/proc/modules'",
        ),
    ],
)
def test_lacking_names_what_a_real_package_missed(
    log: Collection[str], more: dict[str, object], said: str
) -> None:
    assert said in need(*log, **more)  # type: ignore[arg-type]


def failed_to(step: str, what: str, status: int) -> tuple[tuple[str, ...], dict[str, str]]:
    """What the manager says of a process that it did not come to start, and the unit's status."""
    log = (
        f"x.service: Failed to set up {what}: Operation not permitted",
        f"x.service: Failed at step {step} spawning /usr/bin/x: Operation not permitted",
        f"x.service: Main process exited, code=exited, status={status}/{step}",
    )
    return log, {"ExecMainStatus": str(status)}


FIFO = failed_to("SETSCHEDULER", "CPU scheduling", 214)
DISKS = failed_to("IOPRIO", "IO scheduling priority", 211)
NODE = ["mknod: /var/lib/x/dev/null: Operation not permitted"]
AUTOFS = [
    "/usr/sbin/automount: test mount forbidden or incorrect kernel protocol version, kernel"
    " protocol version 5.00 or above required."
]
CHRT = ["chrt: failed to set pid 0's policy: Operation not permitted"]


@pytest.mark.parametrize(
    ("log", "unit", "said"),
    [
        (*FIFO, "real-time scheduling"),
        (*DISKS, "real-time access to disks (CAP_SYS_NICE)"),
        (CHRT, {}, "real-time scheduling (CAP_SYS_NICE)"),
        (NODE, {}, "to make device files (CAP_MKNOD)"),
        (AUTOFS, {}, "to mount what only root of the host may"),
    ],
)
def test_lacking_in_a_guest_of_a_user(
    log: Collection[str], unit: dict[str, str], said: str
) -> None:
    assert need(*log, unit=unit, lacking=OF_USER) == said


@pytest.mark.parametrize(
    ("log", "unit", "lacking"),
    [
        (*DISKS, NSPAWN),
        (CHRT, {}, NSPAWN),
        (NODE, {}, NSPAWN),
        (AUTOFS, {}, NSPAWN),
        (AUTOFS, {"CapabilityBoundingSet": "cap_chown"}, OF_USER),
        (NODE, {"CapabilityBoundingSet": "cap_chown"}, OF_USER),
        (["mknod: /var/lib/x/null: Permission denied"], {}, OF_USER),
        ([*NODE, "x: /etc/x.conf: No such file or directory"], {}, OF_USER),
    ],
)
def test_lacking_excuses_no_request_that_the_guest_or_the_unit_itself_denies(
    log: Collection[str], unit: dict[str, str], lacking: frozenset[str]
) -> None:
    assert need(*log, unit=unit, lacking=lacking) == ""


@pytest.mark.parametrize(
    ("why", "log", "more"),
    [
        (
            "a file of its own whose name is like a device's",
            ["cannot open /etc/dev/tty8: No such file or directory"],
            {},
        ),
        ("a device that no kernel has", ["cannot open /dev/my-own: No such file"], {}),
        ("a device that is there", [MICE], {"present": ["/dev/input/mice"]}),
        ("devices that the unit hides", [MICE], {"unit": {"PrivateDevices": "yes"}}),
        ("a terminal that is there", [STDIN], {"unit": TTY, "present": ["/dev/tty8"]}),
        (
            "standard input from a file of its own",
            [STDIN],
            {"unit": {"ExecMainStatus": "208", "StandardInput": "file"}},
        ),
        ("a missing user", ["Failed to determine user credentials", MICE], {"unit": USER_217}),
        (
            "a missing program beside a module",
            ["x.service: Failed at step EXEC spawning /usr/bin/x: No such file or directory"],
            {"unit": {"ExecMainStatus": "203"}},
        ),
        ("a missing program", [MICE], {"unit": {"ExecMainStatus": "203"}}),
        ("a file of its own that it may not read", ["/etc/x/key: Permission denied"], {}),
        ("no permission on a file of its own", ["open /var/lib/x/db: Operation not permitted"], {}),
        (
            "a clock that another user may not set",
            [CLOCK],
            {"unit": {"User": "x", "AmbientCapabilities": ""}},
        ),
        (
            "a clock that the unit gives up",
            [CLOCK],
            {"unit": {"CapabilityBoundingSet": "cap_net_raw"}},
        ),
        ("a capability that the guest has", ["x"], {"unit": AMBIENT_OF_GUEST}),
        (
            "a path of its own that is no kernel's",
            [MOUNT.replace("/sys/fs/bpf", "/var/lib/x")],
            {"unit": {"ExecMainStatus": "226"}},
        ),
        (
            "a parameter that the unit protects",
            [SYSCTL],
            {"present": ["/proc/sys/kernel/x"], "unit": {"ProtectKernelTunables": "yes"}},
        ),
        (
            "a parameter that can be written",
            [SYSCTL],
            {"present": ["/proc/sys/kernel/x"], "writable": ["/proc/sys/kernel/x"]},
        ),
        (
            "sockets that the unit forbids",
            ["socket(AF_INET6): Address family not supported by protocol"],
            {"unit": {"RestrictAddressFamilies": "AF_UNIX"}},
        ),
        ("a module that is loaded", ZRAM[1:], {"present": ["/sys/module/zram"]}),
        ("a file that is not there", [ACL], {}),
        (
            "a parameter that can be set",
            [WATCHES],
            {
                "present": ["/proc/sys/fs/inotify/max_user_watches"],
                "writable": ["/proc/sys/fs/inotify/max_user_watches"],
            },
        ),
        (
            "a unit that gives its capabilities up",
            ["bird: capset: Operation not permitted"],
            {"unit": {"CapabilityBoundingSet": "cap_net_raw"}},
        ),
        ("a swap file that is missing", ["swapon: cannot open /var/swap: No such file"], {}),
        (
            "a file that has no access control lists on a machine either",
            ["setfacl: /proc/1/stat: Operation not supported"],
            {"present": ["/proc/1/stat"]},
        ),
        ("a file system that is known", [NFSD.replace("nfsd'", "tmpfs'")], {}),
        (
            "a refusal before the real fault",
            [CLOCK, "/etc/x/x.conf: No such file or directory"],
            {},
        ),
        (
            "a refusal before a missing library",
            [AUDIT[0], "x: error while loading shared libraries: libx.so.1: cannot open"],
            {"program": b"\x7fELF\0audit_set_pid\0"},
        ),
        ("a refusal long before the end", [CLOCK, *20 * ["works on"], "bad value 7"], {}),
        (
            "a loader of modules whose absence the unit ignores",
            ["x.service: Executable /sbin/modprobe missing, skipping: No such file or directory"],
            {"unit": {"ExecMainStatus": "2"}},
        ),
        (
            "a refusal before what a program in Go misses",
            [CLOCK, "panic: open /etc/x/x.conf: no such file or directory"],
            {},
        ),
        ("firewalld without netbase", ["ERROR: INVALID_PROTOCOL: esp"], {}),
        ("strongswan without charon", ["IKE daemon '/usr/lib/ipsec/charon' not found"], {}),
        (
            "a silent script that needs nothing of the kernel",
            ["x.service: Failed with result 'exit-code'."],
            {"is_silent": True, "program": b"#!/bin/sh\n# see /dev/kvm\nexit 1\n"},
        ),
        (
            "a silent program that reads the kernel",
            ["x.service: Failed with result 'exit-code'."],
            {
                "is_silent": True,
                "program": b"\x7fELF\0/sys/devices/system/cpu/online\0",
                "present": ["/sys/devices/system/cpu/online"],
            },
        ),
    ],
)
def test_lacking_excuses_no_fault_of_the_package(
    why: str, log: Collection[str], more: dict[str, object]
) -> None:
    assert need(*log, **more) == "", why  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("log", "unit", "present", "said"),
    [
        ((), {}, (), "iSCSI of the kernel"),
        (("iSCSI logger with pid=247 started!",), {}, (), "iSCSI of the kernel"),
        ((), {}, ("/sys/class/iscsi_transport",), ""),
        (("iscsid: can't open /etc/iscsi/iscsid.conf: No such file or directory",), {}, (), ""),
        ((), {"ExecMainStatus": "217"}, (), ""),
        ((), {"ExecMainCode": "1", "ExecMainStatus": "1"}, (), "iSCSI of the kernel"),
        ((), {"ExecMainCode": "3", "ExecMainStatus": "11"}, (), ""),
    ],
)
def test_a_silent_program_that_is_of_no_use_without_an_interface_of_the_kernel(
    log: tuple[str, ...], unit: dict[str, str], present: tuple[str, ...], said: str
) -> None:
    program = b"\x7fELF\0can not create NETLINK_ISCSI socket\0"
    assert need(*log, unit=unit, present=present, program=program) == said
    assert need(*log, unit=unit, present=present, program=b"\x7fELF\0") == ""


@pytest.mark.parametrize(
    ("is_silent", "unit", "present", "said"),
    [
        (True, {}, (), "a sound card"),
        (True, {"ExecMainStatus": "0"}, (), "a sound card"),
        (True, {}, ("/dev/snd",), ""),
        (True, {"ExecMainCode": "3", "ExecMainStatus": "11"}, (), ""),
        (True, {"ExecMainStatus": "217"}, (), ""),
        (False, {}, (), ""),
    ],
)
def test_a_silent_daemon_that_is_linked_with_a_library_for_a_device(
    unit: dict[str, str], present: tuple[str, ...], said: str, *, is_silent: bool
) -> None:
    player = b"\x7fELF\0libc.so.6\0libasound.so.2\0"
    assert need(unit=unit, present=present, daemon=player, is_silent=is_silent) == said
    assert need(unit=unit, present=present, daemon=b"\x7fELF\0", is_silent=is_silent) == ""
