"""Check other files than units of the system: of tmpfiles, D-Bus, generators, users' managers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from postroj.probe.ask import declared, static
from postroj.probe.discover import existence
from postroj.probe.discover.verify import verify
from postroj.process import last_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from postroj.container.guest import Guest
    from postroj.probe.discover.payload import Payload
    from postroj.probe.discover.snapshot import Snapshot

SHOWN = 20
"""Maximum number of accounts to name."""
NOWHERE = "--prefix=/.postroj"
"""Makes systemd-tmpfiles read all lines and create nothing."""
INVALID = 65
"""Exit status of systemd-tmpfiles for lines that it does not understand, systemd-tmpfiles(8)."""


@dataclass
class Findings:
    """What is wrong with files of a package."""

    faults: dict[str, list[str]] = field(default_factory=dict)
    """Sentences by path, some with evidence below."""
    remarks: list[str] = field(default_factory=list)
    companion: Callable[[], str] = lambda: ""
    """Names another package that may bring what is missing."""

    def fault(self, path: str, sentence: str) -> None:
        """Add a fault of a file."""
        self.faults.setdefault(path, []).append(sentence)

    def absence(self, path: str, sentence: str, evidence: str = "") -> None:
        """Add that a file names something that does not exist, a fault unless others have it."""
        if other := self.companion():
            self.remarks.append(f"{path}: {sentence}; '{other}' may bring it")
        else:
            self.fault(path, "\n".join(filter(None, (sentence, evidence))))


def check(
    guest: Guest, brought: Payload, after: Snapshot, companion: Callable[[], str]
) -> Findings:
    """Check what files of a package name: accounts, units, programs."""
    found = Findings(companion=companion)
    _check_tmpfiles(guest, brought.tmpfiles, after, found)
    _check_sysusers(guest, brought.sysusers, after, found)
    _check_generators(guest, brought.generators, found)
    _check_bus(guest, brought, after, found)
    _check_user_units(guest, brought.user_unit_files, found)
    return found


def _check_tmpfiles(guest: Guest, paths: Sequence[str], after: Snapshot, found: Findings) -> None:
    used = [path for path in paths if not _is_overridden(guest, path)]
    named = {path: declared.accounts(existence.text_of(guest, path)) for path in used}
    every = [account for accounts in named.values() for account in accounts]
    users = {account.name for account in every if account.kind == "user"}
    groups = {account.name for account in every if account.kind == "group"}
    users = existence.users(guest, users, after)
    groups = existence.groups(guest, groups, after)
    for path, accounts in named.items():
        for account in accounts:
            if account.name not in (users if account.kind == "user" else groups):
                who = f"the {account.kind} '{account.name}'"
                found.absence(path, f"line {account.line} names {who}, which does not exist")
    if not used:
        return
    argv = ["systemd-tmpfiles", "--create", NOWHERE, *used]
    done = guest.run(argv, ok=existence.STATUSES, timeout=30)
    for path in used if done.status == INVALID else ():
        name = path.rpartition("/")[2]  # older versions print it without its folder
        if lines := [line for line in done.output.splitlines() if f"{name}:" in line]:
            found.fault(path, f"systemd-tmpfiles refuses it\n{last_lines(chr(10).join(lines))}")


def _check_sysusers(guest: Guest, paths: Sequence[str], after: Snapshot, found: Findings) -> None:
    """Remark accounts that nobody has made: shared files declare those of other packages, too."""
    used = [path for path in paths if not _is_overridden(guest, path)]
    named = {path: declared.declared(existence.text_of(guest, path)) for path in used}
    every = set().union(*named.values())
    missing = every - existence.users(guest, every, after)
    missing -= existence.groups(guest, missing, after)
    for path, names in named.items():
        if lacking := sorted(names & missing):
            who = ", ".join(f"'{name}'" for name in lacking[:SHOWN])
            more = f" and {len(lacking) - SHOWN} more" if len(lacking) > SHOWN else ""
            found.remarks.append(f"{path}: it declares {who}{more}, which do not exist")


def _is_overridden(guest: Guest, path: str) -> bool:
    """Whether an administrator has replaced a file by one of the same name."""
    folder, _, name = path.rpartition("/")
    other = f"/etc/{folder.rpartition('/')[2]}/{name}"
    return other != path and guest.exists(other)


def _check_generators(guest: Guest, paths: Sequence[str], found: Findings) -> None:
    modes = existence.modes(guest, paths) if paths else {}
    for path in paths:
        if path in modes and not static.is_executable(modes[path]):
            found.fault(path, "systemd does not run it, because it is not an executable file")


def _check_bus(guest: Guest, brought: Payload, after: Snapshot, found: Findings) -> None:
    """Check the services that D-Bus starts on demand; those of a session are only remarked."""
    services = {
        path: declared.bus_service(existence.text_of(guest, path)) for path in brought.bus_services
    }
    system = {path: each for path, each in services.items() if "/system-services/" in path}
    units = {each.unit for each in system.values() if each.unit}
    missing = existence.missing_units(guest, units, after) - _aliases(guest, brought.unit_files)
    plain = [each for each in services.values() if not each.unit]
    modes = existence.modes(guest, {each.program for each in plain if each.program})
    users = existence.users(guest, {each.user for each in plain if each.user}, after)
    for path, each in services.items():
        lack = ""
        if each.unit:
            if each.unit in missing:
                lack = f"it activates '{each.unit}', which does not exist"
        elif each.program.startswith("/") and not static.is_executable(modes.get(each.program, 0)):
            lack = f"it runs '{each.program}', which is not an executable file"
        elif path in system and each.user and each.user not in users:
            lack = f"it runs as the user '{each.user}', who does not exist"
        if lack and path in system:
            found.absence(path, lack)
        elif lack:
            found.remarks.append(f"{path}: {lack}")


def _aliases(guest: Guest, paths: Sequence[str]) -> set[str]:
    """Return the names that units of the package get once they are enabled."""
    return set().union(*(declared.aliases(existence.text_of(guest, path)) for path in paths))


def _check_user_units(guest: Guest, paths: Sequence[str], found: Findings) -> None:
    """Check the units of users, which have no manager in the guest to ask."""
    if not paths:
        return
    by_name = {path.rpartition("/")[2]: path for path in paths}
    verified = verify(guest, paths, is_user=True)
    for unit, program in verified.commands:
        path = by_name.get(unit, "")
        text = existence.text_of(guest, path) if path else ""
        if program not in declared.executed(text):
            continue
        if static.supplier_of_program(program) is not static.Supplier.PACKAGE:
            continue
        sentence = f"its program '{program}' does not exist, or is not executable"
        if other := existence.unmet(guest, text):
            found.remarks.append(f"{path}: {sentence}; a condition on '{other}' is not met")
        else:
            found.absence(path, sentence, verified.about(unit))
    found.remarks += verified.warnings(paths)
