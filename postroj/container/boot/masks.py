"""The kernel command line of a guest, which makes its systemd boot quickly."""

from __future__ import annotations

MASKED = (
    # Only units that cost time in a guest that lives for seconds, and that every image contains: a
    # unit of a package under test must never be masked. Nor must a target: what it wants would
    # never run, and would then be missed after a reboot.
    "apt-daily-upgrade.timer",
    "apt-daily.timer",
    "console-getty.service",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "ldconfig.service",
    # nobody sees their questions, and the folders that they watch delay the end of a guest
    "systemd-ask-password-console.path",
    "systemd-ask-password-wall.path",
    "systemd-firstboot.service",
    "systemd-hwdb-update.service",
    "systemd-journal-catalog-update.service",
    "systemd-networkd-wait-online.service",
    "dev-hugepages.mount",
    "sys-fs-fuse-connections.mount",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
)

# PID 1 of a container reads its kernel command line from its arguments (systemd's proc_cmdline()).
KERNEL_COMMAND_LINE = (
    "systemd.firstboot=no",
    "systemd.condition_needs_update=no",
    *(f"systemd.mask={unit}" for unit in MASKED),
)
