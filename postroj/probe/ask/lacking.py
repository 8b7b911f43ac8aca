"""Rules that tell what a container lacks, from facts about a unit that did not come up.

Each rule joins what the unit's log says with facts: the exit status, the unit's settings, the
guest's devices, capabilities and files. A unit that its own settings keep from something is not
excused, nor is one that looks for a file which only a package could have made. Nothing is run here.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from postroj.probe.ask.kernel import (
    ATTRIBUTES,
    DEVICE,
    FAMILY,
    KERNEL_FILE,
    LOADER,
    MODULE,
    NO_FAMILY,
    NO_NAMES,
    REQUESTS,
)
from postroj.probe.ask.unitstate import KILLED

if TYPE_CHECKING:
    from postroj.probe.ask.facts import Facts
    from postroj.probe.ask.kernel import Request

ABSENT = re.compile(
    r"no such (?:file|device)|does(?:n't| not) exist|not found|missing|unable to|failed"
    r"|c(?:annot|an't|an not|ould not|ouldn't) |not? (?:accessible|available|present)",
    re.IGNORECASE,  # Go has its own words for errors, all in lower case
)
REFUSED = re.compile(
    r"read-only file system|permission denied|operation not permitted", re.IGNORECASE
)
IGNORED = re.compile(
    r"^\S+: (?:Executable \S+ missing, skipping: |Failed at step (?!EXEC )\S+ spawning )"
)
"""What the manager says of a program that is missing and whose failure the unit ignores, or that it
could not come to start, systemd.service(5)."""
FILE_SYSTEM = re.compile(r"unknown filesystem type '(?P<type>[\w.-]+)'")
SWAP = re.compile(r"swapon: .+: swapon failed: (?:Invalid argument|Operation not permitted)")
"""The kernel cannot swap to files of an overlay, and swap would be the whole host's anyway."""
SYSCTL = re.compile(r"sysctl: (?:permission denied on|setting) key [\"'](?P<key>[\w./-]+)[\"']")
"""How sysctl(8) names a parameter that it could not set."""
NODE = re.compile(r"\bmknod\b.*: Operation not permitted$")
"""Who may not write to a folder is told "Permission denied" instead, mknod(2)."""
MOUNT = re.compile(
    r"\bmount(?:ing|ed)?\b.*(?:forbidden|permission denied|not permitted|superuser)", re.IGNORECASE
)
"""How programs say that they may not mount something."""
CAPSET = re.compile(r"\b(?:capset|cap_set_\w+)\b.*Operation not permitted")
"""How programs complain that they may not keep capabilities, capset(2)."""
NEAR = 20
"""Number of lines before the end that may explain it: programs survive much of what they report."""
OPTION = re.compile(r"\bCONFIG_[A-Z0-9_]+")
OWN_FILE = re.compile(r"(?<![\w.:/-])/(?!(?:dev|proc|run|sys|var/run)/)[\w.+-]+/[\w./+-]+")
"""A path that a package may have forgotten or protected."""
PROGRAM_NAME = re.compile(
    r"^(?:\S*/(?:s?bin|libexec)/\S+: )?(?:\S+: line \d+: |/\S+:\d+(?::\d+)?(?:-\d+)?: )?"
)
"""What many programs print before their messages: their name, or a place in what they read."""
OTHER_FAULT = re.compile(
    r"error while loading shared libraries|ModuleNotFoundError|ImportError|undefined symbol"
    r"|(?:unknown|unrecognized|invalid) option|[Ss]yntax error|Address already in use"
    r"|command not found"
)
"""Complaints after which no earlier refusal explains an end."""
FAULTY_STATUS = ("126", "127", "200", "203", "216", "217", "233", "238", "239", "240", "241")
"""Exit statuses for a program, user, group or folder that is missing, systemd.exec(5)."""
PARAMETER = re.compile(rb"(?<=\0)/(?:proc/sys|sys/kernel)/[\w./-]+(?=\0)")
"""A string of a binary that is the path of a parameter of the kernel, which programs write."""
NO_PROGRAM = ("127", "203")
"""Those of them for a missing program, which may be the loader of kernel modules."""
TERMINAL, AMBIENT, SCHEDULER, APPARMOR = ("208", "209", "222"), "218", "214", "231"
NAMESPACES = ("225", "226")
PRIVILEGES = {
    "205": ("to raise limits", "SYS_RESOURCE"),
    "206": ("to be spared when memory runs out", "SYS_RESOURCE"),
    "211": ("real-time access to disks", "SYS_NICE"),
}
KERNELS = ("/dev/", "/proc/", "/sys/")


def of_facts(facts: Facts) -> str:
    """Return what a container lacks, by the facts about a unit; '' if nothing shows it."""
    faulty = facts.statuses & set(FAULTY_STATUS)
    if faulty - set(NO_PROGRAM) or (faulty and not any(map(LOADER.search, facts.log))):
        return ""
    facts = replace(facts, log=tuple(line for line in facts.log if not IGNORED.match(line)))
    after = replace(facts, log=_after_other_faults(facts.log))
    near = replace(after, log=after.log[-NEAR:])
    rules = (
        _before_start,
        _module,
        _file_system,
        _swap,
        _attributes,
        _mount,
        _device,
        _kernel_file,
        _request,
        _capset,
        _family,
        _silent,
    )
    found = next((found for rule in rules if (found := rule(near))), "") or _option(after)
    return found or (_mark(facts) if after.log == facts.log else "")


def _after_other_faults(log: tuple[str, ...]) -> tuple[str, ...]:
    """Return the lines after the last complaint that no container explains."""
    first = 0
    for number, line in enumerate(log, 1):
        is_about_file = _names_own_file(line) and (ABSENT.search(line) or REFUSED.search(line))
        is_excused = any(one.search(line) for one in (LOADER, SWAP, NODE))
        if (OTHER_FAULT.search(line) or is_about_file) and not is_excused:
            first = number
    return log[first:]


def _names_own_file(line: str) -> bool:
    """Whether a line names a file that a package may have forgotten or protected."""
    return OWN_FILE.search(PROGRAM_NAME.sub("", line)) is not None


def _before_start(facts: Facts) -> str:
    """Rule: the manager could not prepare the process of the unit, systemd.exec(5)."""
    unit, statuses = facts.unit, facts.statuses
    wired = (unit.get("StandardInput", ""), unit.get("StandardOutput", ""))
    if statuses & set(TERMINAL) and any(kind.startswith("tty") for kind in wired):
        path = unit.get("TTYPath", "")
        return _device_need(path) if DEVICE.fullmatch(path) and not facts.has(path) else ""
    if AMBIENT in statuses:
        ambient = unit.get("AmbientCapabilities", "").upper().split()
        lacking = [name for name in ambient if name.removeprefix("CAP_") in facts.lacking]
        return f"the capability {lacking[0]}" if lacking else ""
    if APPARMOR in statuses and not facts.has("/sys/kernel/security/apparmor"):
        return "AppArmor"
    if statuses & set(NAMESPACES):
        return _namespace(facts)
    if any(REFUSED.search(line) for line in facts.log):
        if SCHEDULER in statuses:
            return "real-time scheduling"
        for status, (need, capability) in PRIVILEGES.items():
            if status in statuses and capability in facts.lacking:
                return f"{need} (CAP_{capability})"
    return ""


def _namespace(facts: Facts) -> str:
    """Return what the namespaces of a unit lack: a mount that is refused, a file of the kernel."""
    for line in facts.log:
        if "namespac" not in line.lower():
            continue
        path = line.partition("/run/systemd/unit-root")[2].partition(": ")[0]
        if "Operation not permitted" in line:
            return f"to mount over '{path}'" if path else "namespaces of its own"
        is_kernels = DEVICE.fullmatch(path) or KERNEL_FILE.fullmatch(path)
        if "No such file" in line and is_kernels and not facts.has(path):
            return f"'{path}'"
    return ""


def _module(facts: Facts) -> str:
    """Rule: a kernel module could not be loaded."""
    if "SYS_MODULE" not in facts.lacking or facts.is_on("ProtectKernelModules"):
        return ""
    found = [match for line in facts.log for each in MODULE if (match := each.search(line))]
    for match in found:
        name = match["module"]
        is_loaded = facts.has(f"/sys/module/{name.replace('-', '_')}")
        if name.lower() not in NO_NAMES and not is_loaded:
            return f"the kernel module {name}"
    return "to load kernel modules" if any(map(LOADER.search, facts.log)) else ""


def _file_system(facts: Facts) -> str:
    """Rule: the kernel does not know a file system."""
    for line in facts.log:
        match = FILE_SYSTEM.search(line)
        if match and match["type"] not in facts.file_systems:
            return f"the file system {match['type']} of the kernel"
    return ""


def _swap(facts: Facts) -> str:
    """Rule: the kernel swaps to no file of a guest."""
    return "swap" if any(map(SWAP.search, facts.log)) else ""


def _mount(facts: Facts) -> str:
    """Rule: root of a user namespace, who makes no device files, mounts few file systems."""
    is_refused = "MKNOD" in facts.lacking and facts.would_have("SYS_ADMIN")
    refused = is_refused and any(map(MOUNT.search, facts.log))
    return "to mount what only root of the host may" if refused else ""


def _attributes(facts: Facts) -> str:
    """Rule: the image cannot store access control lists or attributes of files; a disk can."""
    for line in facts.log:
        for pattern, what in ATTRIBUTES:
            match = pattern.search(line)
            if match and not match["path"].startswith(KERNELS) and facts.has(match["path"]):
                return f"{what} of '{match['path']}'"
    return ""


def _device(facts: Facts) -> str:
    """Rule: a device that a machine may have is missing, and no setting of the unit hides it."""
    if facts.hides_devices:
        return ""
    for line in facts.log:
        if ABSENT.search(line):
            for match in DEVICE.finditer(line):
                if not _is_part(line, match) and not facts.has(match[0]):
                    return _device_need(match[0])
    return ""


def _device_need(path: str) -> str:
    return f"the device '{path}'"


def _is_part(line: str, match: re.Match[str]) -> bool:
    """Whether a match is only a part of a longer path in its line."""
    before, after = line[: match.start()][-1:], line[match.end() :][:1]
    return before.isalnum() or before in (*"_./",) or after.isalnum() or after in (*"_/",)


def _kernel_file(facts: Facts) -> str:
    """Rule: a file of the kernel is missing or read-only, and not by a setting of the unit."""
    hidden = facts.unit.get("ProcSubset") == "pid"
    for line in facts.log:
        if (match := SYSCTL.search(line)) and not facts.is_on("ProtectKernelTunables"):
            path = f"/proc/sys/{match['key'].replace('.', '/')}"
            if facts.has(path) and not facts.writes(path):
                return f"to write to '{path}'"
        for match in KERNEL_FILE.finditer(line):
            path = match[0]
            if _is_part(line, match):
                continue
            if REFUSED.search(line) and not _is_protected(facts, path):
                if facts.has(path) and not facts.writes(path):
                    return f"to write to '{path}'"
            elif ABSENT.search(line) and not facts.has(path) and not hidden:
                return f"'{path}'"
    return ""


def _is_protected(facts: Facts, path: str) -> bool:
    """Whether a setting of the unit makes a file of the kernel read-only."""
    own = facts.unit.get("ReadOnlyPaths", "").split()
    cgroups = path.startswith("/sys/fs/cgroup") and facts.is_on("ProtectControlGroups")
    tunable = facts.is_on("ProtectKernelTunables")
    return cgroups or tunable or any(path.startswith(name.lstrip("-+")) for name in own)


def _request(facts: Facts) -> str:
    """Rule: the kernel refused a request that a machine's root may make, or does not know it."""
    return next((text for one in REQUESTS if (text := _asked(facts, one))), "")


def _asked(facts: Facts, request: Request) -> str:
    capability = request.capability
    if capability and (capability not in facts.lacking or not facts.would_have(capability)):
        return ""
    if request.absent and facts.has(request.absent):
        return ""
    refused = [line for line in facts.log if re.search(request.refusals, line, re.IGNORECASE)]
    refused = [line for line in refused if NODE.search(line) or not _names_own_file(line)]
    if not refused:
        return ""
    is_named = any(re.search(request.words, line) for line in refused)
    if not is_named and request.symbols:
        content = facts.program()
        is_named = any(b"\0%s\0" % symbol.encode() in content for symbol in request.symbols)
    suffix = f" (CAP_{capability})" if capability else ""
    return f"{request.needs}{suffix}" if is_named else ""


def _mark(facts: Facts) -> str:
    """Rule: a program is of no use without an interface that the kernel lacks.

    A daemon may end before the journal has what it said. One that a signal has killed has not ended
    for want of the interface.
    """
    if facts.unit.get("ExecMainCode") in KILLED:
        return ""
    marked = [one for one in REQUESTS if one.mark and not facts.has(one.absent)]
    content = facts.program() if marked else b""
    return next((one.needs for one in marked if one.mark in content), "")


def _capset(facts: Facts) -> str:
    """Rule: a program may not keep capabilities that the guest lacks, and the unit would have."""
    is_refused = any(map(CAPSET.search, facts.log))
    missed = is_refused and any(map(facts.would_have, facts.lacking))
    return "capabilities that a machine's root has" if missed else ""


def _family(facts: Facts) -> str:
    """Rule: the kernel lacks a kind of socket, and no setting of the unit forbids it."""
    if facts.unit.get("RestrictAddressFamilies", "").strip("~ "):
        return ""
    for line in facts.log:
        if re.search(NO_FAMILY, line) and (match := FAMILY.search(line)):
            return f"sockets of the kind {match[0]}"
    return ""


def _option(facts: Facts) -> str:
    """Rule: the program itself names options that the kernel lacks."""
    if not any("kernel" in line and ABSENT.search(line) for line in facts.log):
        return ""
    found = [match[0] for line in facts.log if (match := OPTION.search(line))]
    return f"the kernel's option {found[0]}" if found else ""


def _library(facts: Facts) -> str:
    """Return what a daemon is made for that ended without a message, by what it is linked with."""
    if not facts.is_silent or facts.unit.get("ExecMainCode") in KILLED:
        return ""
    absent = [one for one in REQUESTS if one.libraries and not facts.has(one.absent)]
    content = facts.daemon() if absent else b""
    names = {one: [b"\0%s\0" % name.encode() for name in one.libraries] for one in absent}
    return next((one.needs for one in absent if any(n in content for n in names[one])), "")


def _silent(facts: Facts) -> str:
    """Rule: a program ended without a message, and asks for what this kernel does not have."""
    if found := _library(facts):
        return found
    content = facts.program() if facts.is_silent and facts.statuses - {"0", ""} else b""
    if not content.startswith(b"#!"):
        words = (word.decode(errors="replace") for word in PARAMETER.findall(content))
        found = next((path for path in words if facts.has(path) and not facts.writes(path)), "")
        return (
            f"to write to '{found}'" if found and not facts.is_on("ProtectKernelTunables") else ""
        )
    for line in content.decode(errors="replace").splitlines():
        code = line.partition("#")[0]
        for match in (*DEVICE.finditer(code), *KERNEL_FILE.finditer(code)):
            if not _is_part(code, match) and not facts.has(match[0]):
                return f"'{match[0]}'"
    return ""
