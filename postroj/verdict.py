"""The vocabulary of a probe: its steps and checks, their outcomes, and the report.

It imports nothing of postroj. A word means the same here, in messages and in reports.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class Outcome(StrEnum):
    """The outcome of a check, a step, a probe or a report."""

    PASS = "pass"  # noqa: S105
    FAIL = "fail"
    """The package is to blame."""
    ERROR = "error"
    """Host, image, network or postroj is to blame; the package was not judged."""
    SKIP = "skip"
    """Not judged, for a reason that is given."""

    @property
    def is_bad(self) -> bool:
        """Whether something went wrong, no matter who is to blame."""
        return self in (Outcome.FAIL, Outcome.ERROR)


WORST_FIRST = (Outcome.ERROR, Outcome.FAIL, Outcome.PASS, Outcome.SKIP)


def worst(outcomes: Iterable[Outcome]) -> Outcome:
    """Return the worst of several outcomes; `SKIP` if there is none."""
    return min(outcomes, key=WORST_FIRST.index, default=Outcome.SKIP)


class CheckKind(StrEnum):
    """What a check asks about."""

    UNIT = "unit"
    NETWORK = "network"
    FILE = "file"
    PROCESS = "process"
    USER = "user"
    GROUP = "group"
    PACKAGE = "package"
    LOG = "log"
    """A line in the journal of units."""
    CLOSED = "closed"
    """An address at which nobody may listen."""
    DNS = "dns"
    """A name that must resolve."""
    COMMAND = "command"
    GOSS = "goss"
    """A test of goss; before they are known, the subject is their file."""
    SYSTEM = "system"
    """The guest as a whole; the subject is a sentence, and no option asks it."""


class StepName(StrEnum):
    """What is done to the packages; `--steps=all` takes them in this order."""

    INSTALL = "install"
    START = "start"
    """Start what the packages bring and the installation has not started."""
    REINSTALL = "reinstall"
    """Install the same version once more."""
    UPGRADE = "upgrade"
    DOWNGRADE = "downgrade"
    """Go back to the older version; not in `all`, as later steps would be taken with that."""
    REBOOT = "reboot"
    """Boot the guest again, with its files."""
    REMOVE = "remove"
    INSTALL_AGAIN = "install-again"
    """Install the package that was removed, and is not purged."""
    PURGE = "purge"
    """Remove with configuration, as far as the package manager can."""


class Why(StrEnum):
    """Kinds of reasons for a skip."""

    CONFIGURATION = "configuration"
    """A service gave up that may want configuration first."""
    CONTAINER = "container"
    """It needs something that a container lacks; `needs` says what."""
    POLICY = "policy"
    """A setting of the package keeps it disabled."""


class EvidenceName(StrEnum):
    """What is collected from a guest after a failure; also the names of files."""

    STATUS = "status"
    """Of the units that are judged, and of those that have failed."""
    UNIT_JOURNAL = "unit-journal"
    """Of the same units, since the step began."""
    JOURNAL = "journal"
    """Of all, since the step began."""
    FAILED = "failed"
    """The units that have failed."""
    JOBS = "jobs"
    """The jobs that the guest's manager has still to do."""
    SOCKETS = "sockets"
    """The sockets that listen, and who holds them."""
    OUTPUT = "output"
    """What the package manager has printed in the step."""
    PACKAGES = "packages"
    """The logs of the package manager."""
    CORES = "cores"
    """Core dumps, listed."""
    CONSOLE = "console"
    """What the guest's manager and kernel log printed while it booted."""


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
    """Whether postroj asked of its own accord."""
    started: bool = False
    """Whether postroj started the unit, and not the installation."""
    is_dependency: bool = False
    """Whether it is about a unit that came with a dependency, or about an address of one."""
    why: Why | None = None
    """The kind of a skip's reason; None if it has no kind."""
    needs: str = ""
    """What a container lacks, such as "the kernel module zram"; '' if that is not the reason."""
    own_kernel: bool = False
    """Whether a guest with a kernel of its own has answered, where the others are containers."""


@dataclass(frozen=True, kw_only=True)
class Listener:
    """A socket that waits for peers."""

    protocol: str
    """`tcp`, `udp`, `stream` or `seqpacket`; the last two are unix sockets."""
    address: str
    """`127.0.0.1:80`, `[::]:80`, a path, or `@` and a name that is in no file system.

    Such a name is whole, with the NULs at its end, each as `@`; `model.socket_name` drops them.
    """
    unit: str
    """The unit that holds it; '' if none does."""
    process: str
    """Name of a process that holds it."""


@dataclass(frozen=True, kw_only=True)
class Discovery:
    """What a package has brought to a guest."""

    units: tuple[str, ...] = ()
    """The package's units, and those that appeared with it; templates too."""
    dependencies: tuple[str, ...] = ()
    """Those of them that came with a dependency in the same transaction."""
    scripts: tuple[str, ...] = ()
    """Names of SysV scripts."""
    configuration: tuple[str, ...] = ()
    """Paths below `/etc`."""
    programs: tuple[str, ...] = ()
    """Paths of commands."""
    users: tuple[str, ...] = ()
    """Users that did not exist before."""
    groups: tuple[str, ...] = ()
    sockets: tuple[Listener, ...] = ()
    user_units: tuple[str, ...] = ()
    """Files of units of the managers of users."""
    drop_ins: tuple[str, ...] = ()
    """Files that change units of other packages."""
    generators: tuple[str, ...] = ()
    """Programs that make units when systemd reads its configuration."""
    bus_services: tuple[str, ...] = ()
    """Files of services that D-Bus starts on demand."""
    cron: tuple[str, ...] = ()
    logrotate: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """One text from a guest, collected after a failure."""

    name: EvidenceName
    text: str
    """The last lines of a long text; if it is not available, the reason."""

    def within(self, limit: int) -> Evidence:
        """Shorten the text to the last lines that fit into so many bytes, and say so above them."""
        raw = self.text.encode(errors="replace")
        if len(raw) <= limit:
            return self
        cut = raw[-limit:].decode(errors="ignore")
        lines = cut.partition("\n")[2] or cut
        return Evidence(name=self.name, text=f"... the last {limit >> 10} KiB ...\n{lines}")


@dataclass(frozen=True, kw_only=True)
class StepResult:
    """What a step did, and the answers to the questions after it."""

    name: StepName
    done: Outcome
    """The outcome of the step itself, without its checks."""
    reason: str
    seconds: float
    """How long the step itself took, without its checks."""
    hint: str = ""
    """The next command to type after a failure, if there is one."""
    needs: str = ""
    """What a machine has and a container lacks, if that is why the outcome is `SKIP`."""
    checks: tuple[CheckResult, ...] = ()
    discovered: Discovery | None = None
    """None if nothing was discovered after this step."""
    evidence: tuple[Evidence, ...] = ()
    """Collected if the step or a check of it went wrong."""
    omitted: bool = False
    """Whether the user named the step, and it was skipped because it could not be taken."""
    own_kernel: bool = False
    """Whether it was taken in a guest with a kernel of its own, where the others are containers."""

    @property
    def outcome(self) -> Outcome:
        """The worst outcome of the step and its checks."""
        return worst([self.done, *(check.outcome for check in self.checks)])


@dataclass(frozen=True, kw_only=True)
class Package:
    """A package file under test."""

    file: str
    """Its file name."""
    name: str = ""
    """What it is called in its metadata; '' if that is not known."""
    version: str = ""
    """With epoch and release, as its package manager writes it: `1:2.0-3`."""
    architecture: str = ""
    """As its package manager writes it: `amd64` or `x86_64`, `all`, `noarch` or `any`."""
    sha256: str = ""


@dataclass(frozen=True, kw_only=True)
class Host:
    """The machine on which guests run; nothing tells whose it is."""

    kernel: str
    """Release of the kernel: `6.12.9-amd64`."""
    architecture: str
    """As `uname -m` has it."""
    distribution: str
    """As os-release has it: `Debian GNU/Linux 13 (trixie)`; '' if it does not say."""
    is_root: bool
    """Whether root of the host runs postroj, or a user in a namespace."""


@dataclass(frozen=True, kw_only=True)
class ProbeResult:
    """The verdict on one package, or several that belong together, on one image."""

    image: str
    package: str
    """Names of the package files, joined by a space."""
    packages: tuple[Package, ...] = ()
    """The same files, with what they say about themselves."""
    date: str = ""
    """When the probe began, as `2026-01-31T12:00:00Z`; '' if that is not known."""
    architecture: str = ""
    """Of the image, as `uname -m` has it; '' if there was none."""
    image_digest: str = ""
    """SHA-256 of the image without the layers stacked on it; '' if there was none."""
    steps: tuple[StepResult, ...] = ()
    reason: str = ""
    """The error of ours that ended the probe early, a sentence and its evidence; else ''."""
    hint: str = ""
    timings: dict[str, float] = field(default_factory=dict)
    """Seconds of each part: `boot`, `refresh`, the steps, `discovery`, `checks`, `evidence`,
    `total`."""
    evidence: tuple[Evidence, ...] = ()
    """Collected if an error of ours ended the probe."""
    reproduce: str = ""
    """The command line that repeats the probe; '' if it is not known."""
    guest: str = ""
    """The name of the guest if it is kept, and lives on."""
    own_kernel: bool = False
    """Whether its guest has a kernel of its own; with a container it is false."""
    notes: tuple[str, ...] = ()
    """Other sentences for the reader, as about expectations that no longer hold."""

    @property
    def outcome(self) -> Outcome:
        """`ERROR` if an error of ours ended the probe, else the worst outcome of its steps.

        `SKIP` instead of `PASS` if a step was omitted.
        """
        if self.reason:
            return Outcome.ERROR
        return _lessened(
            worst(step.outcome for step in self.steps), any(step.omitted for step in self.steps)
        )


@dataclass(frozen=True, kw_only=True)
class Report:
    """The verdicts of one run of `pkgprobe`."""

    probes: tuple[ProbeResult, ...]
    date: str = ""
    """When the run began, as `2026-01-31T12:00:00Z`; '' if that is not known."""
    version: str = ""
    """Of postroj."""
    host: Host | None = None

    @property
    def outcome(self) -> Outcome:
        """The worst outcome of its probes; `SKIP` instead of `PASS` if one has omitted a step."""
        omitted = any(step.omitted for probe in self.probes for step in probe.steps)
        return _lessened(worst(probe.outcome for probe in self.probes), omitted)


def _lessened(outcome: Outcome, omitted: bool) -> Outcome:
    return Outcome.SKIP if omitted and outcome is Outcome.PASS else outcome
