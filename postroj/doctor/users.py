"""What users without root need from this host, one function for each requirement.

Each is asked for by itself, so that all that is missing is told at once.
"""

from __future__ import annotations

import os
from pathlib import Path

from postroj import process, user
from postroj.container import user_namespace
from postroj.container.cgroup import delegation, hierarchies, scope
from postroj.container.user_namespace import NotAllowedError
from postroj.doctor import facts, sysctl
from postroj.doctor.facts import Finding, Status
from postroj.errors import HostError

NOT_FOR_ROOT = Finding(Status.OK, "root needs none")
BUS_UNITS = tuple(
    Path(folder, "systemd/user/dbus.socket") for folder in ("/etc", "/usr/lib", "/lib")
)


def root() -> Finding:
    """Tell whether this process is root of this host."""
    return Finding(Status.OK, f"uid {user.UID}{'' if user.is_root() else ', not needed'}")


def subordinate_ids() -> Finding:
    """Check that this user has numbers for the users and groups of guests."""
    if user.is_root():
        return NOT_FOR_ROOT
    try:
        for kind in user_namespace.RANGES:
            user_namespace.mapping(kind)
    except HostError as error:
        return _missing(error)
    return Finding(Status.OK, f"{user_namespace.IDS} users and groups")


def newuidmap() -> Finding:
    """Check that users without root can map subordinate ids; newuidmap has no `--version`."""
    return _installed("newuidmap")


def squashfuse() -> Finding:
    """Check that users without root can mount a squashfs; squashfuse has no `--version`."""
    return _installed("squashfuse_ll")


def _installed(tool: str) -> Finding:
    if user.is_root():
        return NOT_FOR_ROOT
    try:
        return Finding(Status.OK, process.tool(tool))
    except HostError:
        return Finding(Status.MISSING, "")


def user_namespaces() -> Finding:
    """Check that this kernel makes user namespaces; enter one if all else that takes is there.

    What is examined after this is examined by its root.
    """
    if user.is_root():
        return NOT_FOR_ROOT
    kernel = _kernel()
    others = (subordinate_ids(), newuidmap(), control_groups())
    if any(one.status is not Status.OK for one in (kernel, *others)):
        return kernel
    try:
        user_namespace.enter()
    except HostError as error:
        return _missing(error)
    return Finding(Status.OK, f"uid {user.UID} is root of one")


def _kernel() -> Finding:
    if settings := user_namespace.lacking_settings():
        names = [setting.partition("=")[0] for setting in settings]
        fix = sysctl.lasting(settings)
        foreign = "" if fix else f"; '{sysctl.FILE}', which would allow it, is not ours"
        return Finding(Status.MISSING, f"{', '.join(names)}: 0{foreign}", fix)
    try:
        user_namespace.require_kernel()
    except HostError as error:
        return _missing(error)
    return facts.attempt(["unshare", "--user", "true"], "can be made")


def control_groups() -> Finding:
    """Check that guests can have control groups."""
    if not user.is_root():
        try:
            delegation.settle()
        except HostError as error:
            return _missing(error, _start_manager())
    return facts.cgroups()


def _start_manager() -> tuple[str, ...]:
    """Return the command that starts our user's own systemd, now and at each boot, if it lacks."""
    has_none = not os.path.exists(scope.manager_socket())  # noqa: PTH110 as in `scope`
    if not (has_none and scope.BOOTED.is_dir() and hierarchies.V2 in hierarchies.mounted()):
        return ()
    start = f"loginctl enable-linger {user.UID} && systemctl start user@{user.UID}.service"
    return ("sh", "-c", start)


def session_bus() -> Finding:
    """Check that this user's own systemd can be asked through D-Bus, if this host has systemd."""
    if user.is_root() or not scope.BOOTED.is_dir():
        return Finding(Status.OK, "root needs none" if user.is_root() else "not without systemd")
    places = (user.runtime_dir() / "bus", *BUS_UNITS)
    found = next(filter(os.path.exists, places), None)
    return Finding(Status.OK, str(found)) if found else Finding(Status.MISSING, "")


def _missing(error: HostError, fix: tuple[str, ...] = ()) -> Finding:
    """Return what an error says, with the command that root runs against it, else its hint."""
    if isinstance(error, NotAllowedError):
        fix, hint = error.fix, ""
    else:
        hint = "" if fix else f"; {error.hint}"
    return Finding(Status.MISSING, f"{error.reason}{hint}".replace("\n", ": "), fix)
