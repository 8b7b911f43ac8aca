"""Names of capabilities, and which of them a guest's init may not use."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

CAPABILITIES = (
    *("CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID"),
    *("SETPCAP", "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW"),
    *("IPC_LOCK", "IPC_OWNER", "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT"),
    *("SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD"),
    *("LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP", "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG"),
    *("WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF", "CHECKPOINT_RESTORE"),
)
"""In the order of their numbers, linux/capability.h."""


OF_FIRST_NAMESPACE = frozenset(
    {
        *("AUDIT_CONTROL", "AUDIT_READ", "AUDIT_WRITE", "BPF", "IPC_LOCK", "LINUX_IMMUTABLE"),
        *("MAC_ADMIN", "MAC_OVERRIDE", "MKNOD", "PERFMON", "SYSLOG", "SYS_MODULE", "SYS_NICE"),
        *("SYS_PACCT", "SYS_RAWIO", "SYS_RESOURCE", "SYS_TIME", "WAKE_ALARM"),
    }
)
"""Capabilities that have no effect in another user namespace than the first, user_namespaces(7)."""
EVERY_ID = 2**32 - 1
"""Number of IDs that the first user namespace has, in `/proc/PID/uid_map`."""


def parse_lacking(words: Sequence[str]) -> frozenset[str]:
    """Parse `CapBnd: 00000000fcecffff 40 0 0 4294967295`; return nothing for other words.

    The last three are a line of `/proc/PID/uid_map`, and more lines may follow.
    """
    try:
        _, mask, last, _, _, ids, *_ = words
        bits, count, is_first = int(mask, 16), int(last) + 1, int(ids) == EVERY_ID
    except ValueError:
        return frozenset()
    known = enumerate(CAPABILITIES[:count])
    withheld = frozenset(name for number, name in known if not bits >> number & 1)
    return withheld if is_first else withheld | (OF_FIRST_NAMESPACE & set(CAPABILITIES[:count]))
