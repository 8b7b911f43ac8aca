"""What a kernel offers to a machine and withholds from a container: devices, files, requests.

Nothing is run here. docs/explanation/containers.rst has a real package for each kind.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

DEVICE = re.compile(
    r"/dev/(?:(?:tty(?:S|AMA|USB|ACM)?|vcs[au]?|zram|rtc|loop|md|dm-|sr|st|nst|sg|nbd|drbd|raw"
    r"|ram|fb|video|media|radio|vbi|hidraw|i2c-|spidev|gpiochip|tpm|tpmrm|ipmi|pps|ptp|parport|lp"
    r"|watchdog|lirc|mei|iio:device|cec|cdc-wdm|ttyprintk|js|mouse|event|hpet|nvidia)\d*"
    r"|(?:sd|hd|vd|xvd)[a-z]+\d*|nvme\w*|mmcblk\w*|wwan\w+|vport\w+|kmsg|mem|kmem|port|nvram|hwrng"
    r"|cpu_dma_latency|mcelog|kvm|vhost-\w+|zram-control|loop-control|rfkill|uhid|uinput|psaux|fuse"
    r"|cuse|autofs|btrfs-control|ppp|vsock|vboxguest|vmci|kfd|userfaultfd|vhci|capi20|isdn\w*"
    r"|(?:bsg|bus|cpu|disk|dri|dvb|infiniband|input|ipmidev|mapper|md|misc|net|snd|usb|v4l|vfio"
    r"|virtio-ports)/(?:[\w.:+/-]*\w)|input|snd|dri)(?![\w/])"
)
"""Names that the kernel and udev give to devices, Linux, Documentation/admin-guide/devices.txt.

A package makes none of them, so one that is missing is not a file that the package forgot.
"""

KERNEL_FILE = re.compile(r"/(?:proc/(?!self\b|thread-self\b|\d)|sys/)[\w.:@+/-]*[\w@+-]")
"""Files that the kernel makes, except those about processes."""

ATTRIBUTES = (
    (re.compile(r"setfacl: (?P<path>/.+): Operation not supported$"), "access control lists"),
    (
        re.compile(r"chattr: Operation not supported while reading flags on (?P<path>/.+)"),
        "attributes",
    ),
)
"""What a file of an image cannot have, because squashfs stores neither."""
MODULE = (
    re.compile(r"Module (?P<module>[\w-]+) not found in directory"),
    re.compile(r"could not insert (?:module )?'(?P<module>[\w-]+)'"),
    re.compile(r"(?i)\b(?P<module>[\w-]+) kernel module"),
    re.compile(r"(?i)kernel module ['\"`]?(?P<module>[\w-]+)"),
    re.compile(r"load (?:the )?(?P<module>[\w-]+) module"),
)
"""How modprobe(8) and other programs name a module that could not be loaded."""
NO_NAMES = ("a", "an", "any", "is", "no", "not", "required", "the", "this")
"""Words beside "kernel module" that are not its name."""
LOADER = re.compile(r"\b(?:insmod|modprobe)\b.*(?:not found|No such file)")
"""A guest has no loader, as that comes with the kernel's package."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """Something that a program may ask of the kernel, and that a container is refused."""

    needs: str
    """What a machine has."""
    words: str
    """Pattern of words by which a program's messages name the request."""
    symbols: tuple[str, ...] = ()
    """Functions of libraries that programs with other purposes do not use."""
    capability: str = ""
    """The capability that it takes; '' if every container is refused."""
    absent: str = ""
    """A path that exists where the request is possible; '' if there is none."""
    mark: bytes = b""
    """A string in programs that are of no use without it; b'' if these say what they miss."""
    libraries: tuple[str, ...] = ()
    """Libraries with which only those programs are linked that are of little use without it."""
    refusals: str = r"Operation not permitted|Permission denied"
    """Pattern of the errors with which the kernel refuses it, errno(3)."""


NO_FAMILY = r"(?:Protocol|Address family|Socket type) not supported"
FAMILY = re.compile(
    r"\b(?:AF|PF|NETLINK)_\w+|(?i:\b[\w-]*netlink[\w-]*|\bbluetooth\b|\bsctp\b|\bdccp\b|\bipv6\b)"
)
"""Names of kinds of sockets in messages."""
REFUSALS = rf"Operation not permitted|Permission denied|Connection refused|{NO_FAMILY}"
ABSENCES = (
    rf"{NO_FAMILY}|No such (?:file|device)|not (?:found|supported|available|present|loaded)"
    r"|[Nn]o \w+|[Uu]nable|[Cc]annot|[Cc]an't|[Cc]ould not|[Ff]ailed|[Ii]ncompatible|[Mm]issing"
)

REQUESTS = (
    Request(
        # the kernel serves only the first PID namespace, kernel/audit.c
        needs="the kernel's audit",
        words=r"\baudit (?:netlink|socket|status|system|daemon)|NETLINK_AUDIT",
        symbols=("audit_set_pid", "audit_set_enabled", "audit_add_rule_data"),
        refusals=REFUSALS,
    ),
    Request(
        needs="to set the clock",
        words=r"adjtimex|(?:clock_|ntp_)(?:set|adj)time|settimeofday|system (?:clock|time)"
        r"|set(?:ting)? (?:the )?(?:clock|date|time)",
        symbols=("adjtimex", "clock_adjtime", "ntp_adjtime", "clock_settime", "settimeofday"),
        capability="SYS_TIME",
    ),
    Request(
        needs="to load kernel modules",
        words=r"init_module|insmod|modprobe|kernel module",
        symbols=("init_module", "finit_module", "kmod_module_insert_module"),
        capability="SYS_MODULE",
    ),
    Request(
        needs="raw access to the hardware",
        words=r"\biop(?:erm|l)\b|/dev/(?:mem|port)\b|\bMSRs?\b",
        symbols=("ioperm", "iopl"),
        capability="SYS_RAWIO",
    ),
    Request(
        needs="the log of the kernel",
        words=r"klogctl|kmsg|kernel (?:log|ring buffer)",
        symbols=("klogctl",),
        capability="SYSLOG",
    ),
    Request(
        needs="process accounting",
        words=r"\bacct\b|process accounting",
        symbols=("acct",),
        capability="SYS_PACCT",
        refusals=r"Operation not permitted|Permission denied|Function not implemented",
    ),
    Request(
        needs="to raise limits",
        words=r"rlimit|RLIMIT_|ulimit|resource limit|oom_score|out of memory score",
        capability="SYS_RESOURCE",
    ),
    Request(needs="to make device files", words=r"\bmknod\b", capability="MKNOD"),
    Request(
        needs="real-time scheduling",
        words=r"sched_set\w+|SCHED_(?:FIFO|RR)|[Rr]eal-?time|set pid \d+'s policy",
        capability="SYS_NICE",
    ),
    Request(
        needs="to lock memory",
        words=r"\bm(?:un)?lock(?:all|2)?\b|[Ll]ock(?:ed|ing)? (?:of )?memory|memory.lock",
        capability="IPC_LOCK",
        refusals=r"Operation not permitted|Cannot allocate memory",
    ),
    Request(
        needs="to change the network",
        words=r"netlink|netfilter|nftables|process rule|ip6?tables|ipset|xfrm"
        r"|\b(?:tun|tap)\b|SIOC\w+",
        capability="NET_ADMIN",
        refusals=r"Operation not permitted|Permission denied|[Uu]nable to initialize table"
        r"|[Cc]an't initialize \w+ table|Could not fetch rule set",
    ),
    Request(
        needs="the log of netfilter",
        words=r"\bn(?:etfilter|fnetlink|flog|f)_\w+|\bNFLOG\b|log handler for protocol",
        capability="NET_ADMIN",
        refusals=ABSENCES,
    ),
    Request(
        needs="alarms that wake the machine",
        words=r"timerfd|CLOCK_\w+_ALARM",
        capability="WAKE_ALARM",
    ),
    Request(needs="to load BPF programs", words=r"\bbpf\b|\bBPF\b", capability="BPF"),
    Request(needs="performance counters", words=r"perf_event|[Pp]erf event", capability="PERFMON"),
    Request(
        needs="debugfs",
        words=r"debugfs|tracefs",
        absent="/sys/kernel/debug/tracing",
        refusals=ABSENCES,
    ),
    Request(
        needs="a wireless interface",
        words=r"nl80211|cfg80211|\bwiphy\b",
        absent="/sys/class/ieee80211",
        refusals=ABSENCES,
    ),
    Request(
        needs="Bluetooth",
        words=r"[Bb]luetooth|\bBlueZ\b|\bHCI\b",
        absent="/sys/class/bluetooth",
        refusals=ABSENCES,
    ),
    Request(
        needs="the device mapper",
        words=r"device[- ]mapper",
        absent="/dev/mapper/control",
        refusals=ABSENCES,
    ),
    Request(
        needs="IPVS of the kernel",
        words=r"\bipvs\b|\bip_vs\b|\bIPVS\b",
        absent="/proc/net/ip_vs",
        refusals=rf"{ABSENCES}|Protocol not available",
    ),
    Request(
        needs="iSCSI of the kernel",
        words=r"\bNETLINK_ISCSI\b|iscsi_transport|sysfs.*iscsi|iscsi.*sysfs",
        absent="/sys/class/iscsi_transport",
        mark=b"NETLINK_ISCSI",
        refusals=ABSENCES,
    ),
    Request(
        needs="DRBD of the kernel", words=r"\bdrbd\b", absent="/sys/module/drbd", refusals=ABSENCES
    ),
    Request(
        needs="a TPM",
        words=r"\b[Tt][Pp][Mm]2?\b|\b[Tt][Cc][Tt][Ii]\b",
        absent="/sys/class/tpm/tpm0",
        refusals=ABSENCES,
    ),
    Request(
        needs="an input device",
        words=r"(?:event|input) devices?\b",
        absent="/dev/input",
        refusals=ABSENCES,
    ),
    Request(
        needs="a sound card",
        words=r"\bALSA\b|\bPCM\b|\bsnd_\w+|\bcard index\b"
        r"|\b(?:[Aa]udio|[Ss]ound|capture|playback|output) (?:card|device)\b",
        absent="/dev/snd",
        refusals=ABSENCES,
        libraries=("libasound.so.2", "libportaudio.so.2"),
    ),
    Request(
        needs="a graphics card",
        words=r"\bDRM\b|\bdrm\w*|\bKMS\b|\bGPU\b|\b[Gg]raphics (?:card|device)\b",
        absent="/dev/dri",
        refusals=ABSENCES,
        libraries=("libdrm.so.2",),
    ),
    Request(
        needs="a watchdog",
        words=r"watchdog (?:device|driver|timer)",
        absent="/dev/watchdog",
        refusals=ABSENCES,
    ),
    Request(
        needs="USB", words=r"\blib[Uu][Ss][Bb]\b|\bUSB\b", absent="/dev/bus/usb", refusals=ABSENCES
    ),
    Request(
        needs="IPMI",
        words=r"\b[Ii][Pp][Mm][Ii]\b|\binband device|\bBMC\b|\bSSIF\b|\bKCS\b",
        absent="/sys/class/ipmi",
        refusals=ABSENCES,
    ),
)
"""Requests, and how to recognise them in what a program prints and in the program itself."""
