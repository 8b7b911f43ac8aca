"""Known causes that keep guests from booting: their traces on the console, and what to do.

Guest and nspawn write to the console.
"""

from __future__ import annotations

from dataclasses import dataclass

from postroj import causes

UNIFIED = "boot this host with `systemd.unified_cgroup_hierarchy=1` on its kernel command line"
OUTER = "in a container: start that one with `--privileged`, or with nesting allowed"
VERIFY = "`postroj verify NAME` compares it with its digest, `postroj pull --force NAME` mends it"
FEWER = "run fewer guests at once (`--jobs`), or more memory for this host: guests share it"


@dataclass(frozen=True, kw_only=True)
class Cause(causes.Cause):
    """A known cause that keeps guests from booting; its sentence goes on after a colon."""

    source: str
    """The source of the fact."""


KILLED = Cause(
    pattern=r"^Container \S+ terminated by signal KILL",
    sentence="its init or systemd-nspawn was killed, as the kernel does when memory runs out",
    hint=FEWER,
    source="systemd, src/nspawn/nspawn.c; nobody within a guest can kill its PID 1",
)
CAUSES = (
    # Control groups.
    Cause(
        pattern=r"Detected cgroup v1 hierarchy|unsupported legacy cgroup hierarchy, refusing",
        sentence="its systemd is 258 or newer and refuses version 1 of control groups",
        hint=UNIFIED,
        source="systemd 258, src/core/main.c; NEWS of 258",
    ),
    Cause(
        pattern=r"^Detected host uses legacy cgroup v1 hierarchy, refusing",
        sentence="systemd-nspawn of this host supports only version 2 of control groups",
        hint=UNIFIED,
        source="systemd 258, src/nspawn/nspawn.c",
    ),
    Cause(
        pattern=r"Cannot determine cgroup we are running in|manager object: No data available",
        sentence="its systemd is older than 230 and supports only version 1 of control groups",
        hint="images of the catalog get version 1 if systemd-nspawn is 257 or older",
        source="systemd issue 4008",
    ),
    # Limits of the host. A failed inotify_init() says "open files", and means instances.
    Cause(
        pattern=r"inotify.*Too many open files|manager object: Too many open files"
        r"|directory watch: Too many open files",
        sentence="this host has no inotify instance left, which all of its containers share",
        hint="`sysctl fs.inotify.max_user_instances=1024` allows more",
        source="inotify(7), inotify_init(2); systemd issue 17992",
    ),
    Cause(
        pattern=r"(?:inotify|watch).*No space left on device",
        sentence="this host has no inotify watch left, which all of its containers share",
        hint="`sysctl fs.inotify.max_user_watches=524288` allows more",
        source="inotify_add_watch(2)",
    ),
    Cause(
        pattern=r"^unshare: .*No space left on device|^Failed to (?:clone|fork).*No space left",
        sentence="this host allows no more namespaces",
        hint="`sysctl user.max_mnt_namespaces user.max_pid_namespaces` shows how many it allows",
        source="unshare(2), namespaces(7)",
    ),
    Cause(
        pattern=r"^unshare: .*Operation not permitted|^Failed to (?:clone|fork).*not permitted",
        sentence="this host forbids new namespaces, perhaps by a filter of system calls",
        hint=OUTER,
        source="unshare(2); the seccomp profile of Docker",
    ),
    # The image, as mount(8) and nspawn meet it.
    Cause(
        pattern=r"^mount: .*(?:failed to set ?up loop device"
        r"|mount failed: Operation not permitted)",
        sentence="this host provides no loop device",
        hint="`modprobe loop` loads the driver; a container needs `--privileged -v /dev:/dev`",
        source="mount(8) of util-linux 2.38 where there is no /dev/loop-control: it asks no kernel",
    ),
    Cause(
        pattern=r"^mount: .*unknown filesystem type",
        sentence="this host's kernel does not have that file system",
        hint="`modprobe squashfs overlay` loads both; in a container its host has to",
        source="mount(8); ENODEV of mount(2)",
    ),
    Cause(
        pattern=r"^mount: .*(?:bad superblock|can't read superblock)",
        sentence="it is not a squashfs file, is damaged, or has a compression that this kernel"
        " lacks",
        hint=VERIFY,
        source="mount(8); EINVAL and EIO of mount(2)",
    ),
    Cause(
        pattern=r"^mount: .*(?:permission denied|must be superuser)",
        sentence="this host forbids mounts",
        hint=OUTER,
        source="mount(8); EPERM and EACCES of mount(2)",
    ),
    Cause(
        pattern=r"^execv\(.*failed: Input/output error|SQUASHFS error",
        sentence="the image is damaged",
        hint=VERIFY,
        source="EIO of execve(2), which squashfs gives for a block that cannot be unpacked",
    ),
    Cause(
        pattern=r"^execv\(.*failed: Exec format error",
        sentence="its init is not a program for this host's processor",
        hint="`qemu-user-binfmt` runs such programs; `--arch` chooses an image for this processor",
        source="ENOEXEC of execve(2); systemd-nspawn(1), `--boot`",
    ),
    Cause(
        pattern=r"^execv\(.*failed: No such file or directory",
        sentence="the image has no init that can be run",
        hint="`--no-boot` runs commands in an image without init",
        source="ENOENT of execve(2), also of a program whose loader is missing",
    ),
    Cause(
        pattern=r"^execv\(.*failed: Permission denied",
        sentence="its init is not executable",
        hint="`--no-boot` runs commands in an image without init",
        source="EACCES of execve(2)",
    ),
    Cause(
        pattern=r"^Directory .* doesn't look like (?:it has )?an OS",
        sentence="the image has no distribution: no /usr, or no os-release",
        hint="os-release(5) describes that file; `postroj import` inspects an image first",
        source="systemd, src/nspawn/nspawn.c; os-release(5)",
    ),
    # Mounts of nspawn, which prints file system and place; PID 1 of a guest does not.
    Cause(
        pattern=r"^Failed to mount \S+ \(type (?:proc|sysfs)\) on .*(?:not permitted|No such file)",
        sentence="parts of /proc or /sys are hidden here, so the kernel allows no new mounts of"
        " them",
        hint=OUTER,
        source="systemd issue 27994; incus issue 1321",
    ),
    Cause(
        pattern=r"^Failed to mount \S+ \(type .*: (?:Permission denied|Operation not permitted)",
        sentence="this host forbids a mount, perhaps by AppArmor or SELinux",
        hint="`dmesg` shows what they deny; " + OUTER,
        source="systemd issues 28157 and 34836",
    ),
    # Failures in the guest itself.
    Cause(
        pattern=r"Failed to spawn executor: Invalid argument",
        sentence="qemu-user of this host cannot run its systemd, which starts no service",
        hint="an older release of that distribution: qemu 7.2 runs systemd 252, and not 257",
        source="measured with Debian 12 and 13; systemd issue 28901",
    ),
    Cause(
        pattern=r"FATAL: kernel too old",
        sentence="its C library needs a newer kernel than this host's",
        hint="an older release of that distribution, or a host with a newer kernel",
        source="glibc, sysdeps/unix/sysv/linux/dl-sysdep.c",
    ),
    KILLED,
    Cause(
        pattern=r"Cannot allocate memory|Out of memory",
        sentence="its memory has run out",
        hint=FEWER,
        source="ENOMEM, errno(3)",
    ),
    Cause(
        pattern=r"No space left on device",
        sentence="its writable layer is full",
        hint=FEWER,
        source="ENOSPC of a tmpfs, tmpfs(5)",
    ),
    Cause(
        pattern=r"Failed to (?:isolate|load|start) default target",
        sentence="its systemd cannot start its default target: units conflict or are missing",
        hint="`systemd-analyze verify default.target` in `postroj run --no-boot` names them",
        source="systemd, src/core/main.c",
    ),
    Cause(
        pattern=r"Caught <(?:SEGV|ABRT|ILL|FPE|BUS|QUIT)>",
        sentence="its systemd crashed",
        hint="`postroj -v run --no-boot -- /bin/sh` enters the image without its init",
        source="systemd, src/core/crash-handler.c",
    ),
    Cause(
        pattern=r"Exiting PID 1\.\.\.|Freezing execution",
        sentence="its systemd has given up",
        hint="`postroj -v run --no-boot -- /bin/sh` enters the image without its init",
        source="systemd, src/core/main.c",
    ),
    Cause(
        pattern=r"Reported kernel version .* is older than systemd's required baseline",
        sentence="its systemd needs a newer kernel than this host's",
        hint="an older release of that distribution, or a host with a newer kernel",
        source="systemd 256, src/core/main.c: a warning, which explains what else fails",
    ),
)


def find(console: str) -> Cause | None:
    """Return the first known cause with a trace on a console, if there is one."""
    found = causes.find(CAUSES, console)
    return found[0] if found else None
