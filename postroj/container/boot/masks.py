"""What a guest's systemd is told by its kernel command line, so that it boots quickly."""

from __future__ import annotations

MASKED = (
    # Only what costs time in a guest that lives for seconds, and only units that come with every
    # image: a unit that a package under test may bring must never be masked.
    "apt-daily-upgrade.timer",
    "apt-daily.timer",
    "console-getty.service",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "getty.target",
    "ldconfig.service",
    # nobody sees what they would show, and a guest ends later for the folders that they watch
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
    "systemd.unit=multi-user.target",
    "systemd.firstboot=no",
    "systemd.condition_needs_update=no",
    *(f"systemd.mask={unit}" for unit in MASKED),
)
