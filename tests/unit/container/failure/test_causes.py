"""Real output of consoles, and the cause that is found in it."""

from __future__ import annotations

import re

import pytest

from postroj.container.failure import causes
from postroj.container.failure.causes import CAUSES

MOUNT = "mount: /run/postroj/postroj-ab12/mnt/lower0: "
EXECV = "execv(/usr/lib/systemd/systemd, /lib/systemd/systemd, /sbin/init) failed: "
CONSOLES = {
    # systemd 262 on the hybrid hierarchy, nspawn 252
    "Detected cgroup v1 hierarchy at /sys/fs/cgroup/, which is no longer supported by current"
    " version of systemd.\n[!!!!!!] Detected unsupported legacy cgroup hierarchy, refusing"
    " execution.\nExiting PID 1...": "refuses version 1",
    "Detected host uses legacy cgroup v1 hierarchy, refusing.": "supports only version 2",
    # systemd issue 4008: systemd 229 on version 2
    "Cannot determine cgroup we are running in: No data available\n"
    "Failed to allocate manager object: No data available\nFreezing execution.": "older than 230",
    # many containers on one host, systemd 249 to 255
    "Failed to create control group inotify object: Too many open files\n"
    "Failed to allocate manager object: Too many open files\n"
    "[!!!!!!] Failed to allocate manager object.\nExiting PID 1...": "no inotify instance",
    "Failed to allocate directory watch: Too many open files": "no inotify instance",
    "Failed to add control group inotify watch descriptor for control group /system.slice:"
    " No space left on device": "no inotify watch",
    "unshare: unshare failed: No space left on device": "no more namespaces",
    "unshare: unshare failed: Operation not permitted": "forbids new namespaces",
    # util-linux 2.38, where there is none; others say it so
    "mount: lower0: mount failed: Operation not permitted.": "provides no loop device",
    f"{MOUNT}failed to setup loop device for /cache/image.squashfs.": "provides no loop device",
    "mount: failed to set up loop device; could not find any free loop device": "no loop device",
    f"{MOUNT}unknown filesystem type 'squashfs'.": "does not have that file system",
    f"{MOUNT}wrong fs type, bad option, bad superblock on /dev/loop1, missing codepage or helper"
    " program, or other error.": "is not a squashfs file",
    f"{MOUNT}can't read superblock on /dev/loop1.": "is not a squashfs file",
    f"{MOUNT}permission denied.": "forbids mounts",
    f"{EXECV}Input/output error": "the image is damaged",
    f"{EXECV}Exec format error": "not a program for this host's processor",
    f"{EXECV}No such file or directory": "the image has no init",
    f"{EXECV}Permission denied": "not executable",
    "Directory /run/postroj/postroj-ab12/mnt/root doesn't look like an OS root directory"
    " (os-release file is missing). Refusing.": "the image has no distribution",
    "Directory /run/postroj/postroj-ab12/mnt/root doesn't look like it has an OS tree"
    " (/usr/ directory is missing). Refusing.": "the image has no distribution",
    # systemd issue 28157, incus issue 1321
    'Failed to mount proc (type proc) on /proc (MS_NOSUID|MS_NODEV|MS_NOEXEC ""): Operation not'
    " permitted": "parts of /proc or /sys are hidden",
    'Failed to mount sysfs (type sysfs) on /sys/full (MS_RDONLY|MS_NOSUID|MS_NODEV|MS_NOEXEC ""):'
    " No such file or directory": "parts of /proc or /sys are hidden",
    "Failed to mount tmpfs (type tmpfs) on /run/host (MS_NOSUID|MS_NODEV|MS_STRICTATIME "
    '"mode=0755"): Permission denied': "forbids a mount",
    "FATAL: kernel too old": "C library needs a newer kernel",
    # systemd 257, qemu 7.2
    "dbus.service: Failed to spawn executor: Invalid argument\n"
    "dbus.service: Failed to spawn 'start' task: Invalid argument": "cannot run its systemd",
    "Container postroj-4c2ecf4c terminated by signal KILL.": "was killed",
    "Failed to fork: Cannot allocate memory": "memory has run out",
    "Failed to populate /etc with preset unit settings: No space left on device": "layer is full",
    # systemd 257
    "Failed to isolate default target: Transaction contains conflicting jobs 'stop' and 'start' for"
    " rescue.target.\nExiting PID 1...": "cannot start its default target",
    "Caught <SEGV> from PID 22.\nCaught <SEGV>, dumped core as pid 25.\n"
    "Exiting PID 1...": "crashed",
    "[!!!!!!] Failed to mount API filesystems.\nExiting PID 1...": "has given up",
    "Warning! Reported kernel version 4.14.186 is older than systemd's required baseline kernel"
    " version 5.7. Your mileage may vary.": "needs a newer kernel",
}


@pytest.mark.parametrize(("console", "clause"), CONSOLES.items())
def test_find_the_cause_of_a_console(console: str, clause: str) -> None:
    before = "systemd 257 running in system mode\nWelcome to Debian GNU/Linux 13 (trixie)!\n"
    found = causes.find(f"{before}{console}\n")
    assert found and clause in found.sentence


def test_every_cause_is_tested_has_a_hint_and_a_source() -> None:
    found = {causes.find(console) for console in CONSOLES}
    assert found == set(CAUSES)
    assert all(cause.hint and cause.source for cause in CAUSES)


@pytest.mark.parametrize(
    "console",
    [
        "",
        "Welcome to Debian GNU/Linux 13 (trixie)!\n[  OK  ] Reached target Multi-User System.",
        # a unit of the guest, not nspawn
        "[FAILED] Failed to mount data.mount - /data.\nSee 'systemctl status data.mount'.",
        "data.mount: Failed to mount proc (type proc): Operation not permitted",
        "app: mount: permission denied",
    ],
)
def test_find_no_cause_in_a_console_without_one(console: str) -> None:
    assert causes.find(console) is None


def test_sentences_go_on_after_a_colon() -> None:
    for cause in CAUSES:
        assert re.match(r"[a-z]", cause.sentence), cause.sentence
        assert not cause.sentence.endswith("."), cause.sentence
