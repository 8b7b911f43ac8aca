"""The vocabulary of a probe: what was asked, what came out, and what a report is made of.

Imports nothing of postroj. A word here means the same everywhere, in messages and reports too.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class Outcome(StrEnum):
    """The verdict on a check, a step, a probe or a report."""

    PASS = "pass"  # noqa: S105
    FAIL = "fail"
    """The package is to blame."""
    ERROR = "error"
    """Host, image, network or postroj is to blame; the package was not judged."""
    SKIP = "skip"
    """Not asked, for a reason that is given."""

    @property
    def is_bad(self) -> bool:
        """Whether something went wrong, whoever is to blame."""
        return self in (Outcome.FAIL, Outcome.ERROR)


WORST_FIRST = (Outcome.ERROR, Outcome.FAIL, Outcome.PASS, Outcome.SKIP)


def worst(outcomes: Iterable[Outcome]) -> Outcome:
    """The worst of several outcomes; nothing at all is a `SKIP`."""
    return min(outcomes, key=WORST_FIRST.index, default=Outcome.SKIP)


class CheckKind(StrEnum):
    """What a check asks about."""

    UNIT = "unit"
    NETWORK = "network"
    FILE = "file"
    COMMAND = "command"
    SYSTEM = "system"
    """The guest as a whole; the subject is a sentence, and no option asks it."""


class StepName(StrEnum):
    """What is done to a package; `--steps=all` is done in this order."""

    INSTALL = "install"
    REINSTALL = "reinstall"
    """The same version once more."""
    UPGRADE = "upgrade"
    DOWNGRADE = "downgrade"
    """Back to the older version; not one of all, as what follows would be done to that."""
    REBOOT = "reboot"
    """The guest restarts, with all that was written."""
    REMOVE = "remove"
    PURGE = "purge"
    """Remove with configuration, as far as the package manager can."""


class EvidenceName(StrEnum):
    """What a guest is asked for after a failure; also the names of files."""

    STATUS = "status"
    """Of the units that are judged, and of those that have failed."""
    UNIT_JOURNAL = "unit-journal"
    """Of the same units, since the step began."""
    JOURNAL = "journal"
    """Of all, since the step began."""
    FAILED = "failed"
    """The units that have failed."""
    JOBS = "jobs"
    """What the guest's manager has still to do."""
    SOCKETS = "sockets"
    """What listens, and whose it is."""
    OUTPUT = "output"
    """What the package manager has printed in the step."""
    PACKAGES = "packages"
    """The logs of the package manager."""
    CORES = "cores"
    """Core dumps, listed."""
    CONSOLE = "console"
    """What the guest's manager and kernel log have said as it booted."""


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """The answer to one question."""

    kind: CheckKind
    subject: str
    outcome: Outcome
    reason: str
    """One sentence, and below it the evidence (the unit's journal, a command's last lines)."""
    seconds: float
    discovered: bool = False
    """Whether postroj asked on its own."""


@dataclass(frozen=True, kw_only=True)
class Listener:
    """A socket that waits for peers."""

    protocol: str
    """`tcp`, `udp`, `stream` or `seqpacket`; the last two are unix sockets."""
    address: str
    """`127.0.0.1:80`, `[::]:80`, a path, or `@` and a name that is in no file system."""
    unit: str
    """'' if who holds it is in none."""
    process: str
    """Name of a process that holds it."""


@dataclass(frozen=True, kw_only=True)
class Discovery:
    """What a package has brought to a guest."""

    units: tuple[str, ...] = ()
    """Its own and those that appeared with it; templates too."""
    scripts: tuple[str, ...] = ()
    """Names of SysV scripts."""
    configuration: tuple[str, ...] = ()
    """Paths below `/etc`."""
    programs: tuple[str, ...] = ()
    """Paths of what can be called."""
    users: tuple[str, ...] = ()
    """Who was not there before."""
    groups: tuple[str, ...] = ()
    sockets: tuple[Listener, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What a guest said after a failure."""

    name: EvidenceName
    text: str
    """The last lines where it is long; why it could not be had, where it could not."""

    def within(self, limit: int) -> Evidence:
        """Return it with the last lines that fit into so many bytes, and a line that says so."""
        raw = self.text.encode(errors="replace")
        if len(raw) <= limit:
            return self
        cut = raw[-limit:].decode(errors="ignore")
        lines = cut.partition("\n")[2] or cut
        return Evidence(name=self.name, text=f"... the last {limit >> 10} KiB ...\n{lines}")


@dataclass(frozen=True, kw_only=True)
class StepResult:
    """What a step did, and the answers to the questions asked after it."""

    name: StepName
    done: Outcome
    """Of the step itself, without its checks."""
    reason: str
    seconds: float
    """Of the step itself, without its checks."""
    hint: str = ""
    """The next thing to type, if the step failed and there is one."""
    checks: tuple[CheckResult, ...] = ()
    discovered: Discovery | None = None
    """None where nobody looked."""
    evidence: tuple[Evidence, ...] = ()
    """Where the step or a check of it did not pass."""

    @property
    def outcome(self) -> Outcome:
        """The worst of the step and its checks."""
        return worst([self.done, *(check.outcome for check in self.checks)])


@dataclass(frozen=True, kw_only=True)
class ProbeResult:
    """One package, or several that belong together, on one image."""

    image: str
    package: str
    """Names of the package files, joined by a space."""
    steps: tuple[StepResult, ...] = ()
    reason: str = ""
    """What of ours ended it before its last step, as one sentence and its evidence; or ''."""
    hint: str = ""
    timings: dict[str, float] = field(default_factory=dict)
    """Seconds of each part: `boot`, `refresh`, the steps, `discovery`, `checks`, `evidence`,
    `total`."""
    evidence: tuple[Evidence, ...] = ()
    """Where something of ours ended it."""
    reproduce: str = ""
    """The command line that repeats it; '' if nobody knows."""
    guest: str = ""
    """Name of the guest if it was kept, and runs on."""
    notes: tuple[str, ...] = ()
    """What else is to be said, as sentences: of expectations that hold no more."""

    @property
    def outcome(self) -> Outcome:
        """`ERROR` when something of ours ended it, else the worst of its steps."""
        return Outcome.ERROR if self.reason else worst(step.outcome for step in self.steps)


@dataclass(frozen=True, kw_only=True)
class Report:
    """All that a run of `pkgprobe` found out."""

    probes: tuple[ProbeResult, ...]

    @property
    def outcome(self) -> Outcome:
        """The worst of its probes."""
        return worst(probe.outcome for probe in self.probes)
