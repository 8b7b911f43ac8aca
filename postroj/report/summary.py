"""What a report shows, in numbers: how many services ran, which ports answered, what was skipped.

The last line on a terminal and the JSON report have the same facts.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from postroj.model import EPHEMERAL
from postroj.report.repeats import fault_of
from postroj.report.visible import visible
from postroj.verdict import WORST_FIRST, CheckKind, Outcome, StepName, Why

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from postroj.verdict import CheckResult, ProbeResult, Report

LEAVING = (StepName.REMOVE, StepName.PURGE)
"""Steps after which a passing unit does not run."""
VERDICTS = {
    Outcome.PASS: "",
    Outcome.FAIL: "the package is to blame",
    Outcome.ERROR: "the package was not judged",
    Outcome.SKIP: "nothing was tested",
}
DONE = {
    Outcome.PASS: "passed",
    Outcome.FAIL: "failed",
    Outcome.ERROR: "not judged",
    Outcome.SKIP: "skipped",
}
UNIT_TYPES = (
    *("service", "socket", "target", "device", "mount", "automount", "swap", "timer", "path"),
    *("slice", "scope"),
)
SCRIPT = re.compile(r".*, its SysV script has left no process")
"""How the reason of a passing check begins if nobody can tell whether a script did anything."""
NO_WORK = re.compile(r"active \(exited\), its command does nothing")
"""How the reason of a passing check begins if its service has no work to do."""
ENDED = re.compile(r"active \(exited\)|.*, has done its work, ")
"""How the reason of a passing check begins if its service has done its work and ended."""
PORT = re.compile(r"^(?:tcp|udp)://.*:(\d+)$")
OTHERS = {
    CheckKind.FILE: ("file exists", "files exist"),
    CheckKind.PROCESS: ("program runs", "programs run"),
    CheckKind.USER: ("user exists", "users exist"),
    CheckKind.GROUP: ("group exists", "groups exist"),
    CheckKind.PACKAGE: ("package is installed", "packages are installed"),
    CheckKind.LOG: ("line is logged", "lines are logged"),
    CheckKind.CLOSED: ("port is closed", "ports are closed"),
    CheckKind.DNS: ("name resolves", "names resolve"),
    CheckKind.COMMAND: ("command succeeds", "commands succeed"),
    CheckKind.GOSS: ("test of goss passes", "tests of goss pass"),
}
"""What checks of other kinds have shown: of one subject, and of several."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What one probe has shown; each thing counts once, whatever number of steps has shown it."""

    title: str
    """The image, with the package if several were probed on an image."""
    up: tuple[str, ...]
    """The units that were up."""
    ended: tuple[str, ...]
    """The services that had done their work and ended before they were checked."""
    scripts: tuple[str, ...]
    """The services whose SysV script was run and left no process."""
    started: tuple[str, ...]
    """Those of all three that postroj started, and not the installation."""
    needing: tuple[str, ...]
    """The units that need something that a container lacks."""
    gave_up: tuple[str, ...]
    """The units that postroj started in vain, which is not held against the package."""
    idle: tuple[str, ...] | None
    """The services of the package that never ran; None if none was looked for."""
    answers: tuple[str, ...]
    """The addresses that answered."""
    others: Mapping[CheckKind, int]
    """Number of subjects of each of `OTHERS` that passed; without those of which none did."""
    skipped: int
    """Number of questions that were never answered."""
    omitted: tuple[tuple[StepName, str], ...]
    """The steps that the user named and that could not be taken, each with the reason."""
    was_tried: bool
    """Whether the step `start` was taken."""


def of(probe: ProbeResult, title: str = "") -> Summary:
    """Summarise a probe, under a title that tells it from the others of a report."""
    staying = [step for step in probe.steps if step.name not in LEAVING]
    checks = [check for step in staying for check in step.checks]
    passed = [
        check for check in checks if check.outcome is Outcome.PASS and not check.is_dependency
    ]
    kinds = {
        kind: _units(check for check in passed if _kind_of_pass(check) is kind)
        for kind in (None, SCRIPT, ENDED)
    }
    up = kinds[None]
    ended = tuple(name for name in kinds[ENDED] if name not in up)
    scripts = tuple(name for name in kinds[SCRIPT] if name not in {*up, *ended})
    found = [step.discovered for step in probe.steps if step.discovered]
    own = {name for one in found for name in {*one.units} - {*one.dependencies}}
    services = set(filter(_is_service, own))
    return Summary(
        title=title or probe.image,
        up=up,
        ended=ended,
        scripts=scripts,
        started=_units(check for check in passed if check.started),
        needing=_units(check for check in checks if check.needs),
        gave_up=_units(check for check in checks if check.why is Why.CONFIGURATION),
        idle=tuple(sorted(services - {*up, *ended, *scripts})) if found else None,
        answers=_answers(passed, [step.checks for step in staying]),
        others=Counter(
            kind for kind, _ in {(check.kind, check.subject) for check in passed} if kind in OTHERS
        ),
        skipped=_skipped(check for step in probe.steps for check in step.checks),
        omitted=tuple((step.name, step.reason) for step in probe.steps if step.omitted),
        was_tried=any(
            step.name is StepName.START and step.done is Outcome.PASS for step in probe.steps
        ),
    )


def _kind_of_pass(check: CheckResult) -> re.Pattern[str] | None:
    """Return what the reason of a passing check matches; None if its unit is up."""
    return next((kind for kind in (NO_WORK, SCRIPT, ENDED) if kind.match(check.reason)), None)


def _subjects(checks: Iterable[CheckResult]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(check.subject for check in checks))


def _answers(
    passed: Sequence[CheckResult], steps: Iterable[Sequence[CheckResult]]
) -> tuple[str, ...]:
    """Return the addresses that answered; of ports that the kernel chooses, those of one step.

    A service has others after each start.
    """
    every = _subjects(check for check in passed if check.kind is CheckKind.NETWORK)
    fixed = [name for name in every if not _is_chosen(name)]
    chosen = set(every) - {*fixed}
    by_step = [chosen & {check.subject for check in checks} for checks in steps]
    return (*fixed, *sorted(max(by_step, key=len, default=())))


def _is_chosen(address: str) -> bool:
    found = PORT.search(address)
    return found is not None and int(found[1]) >= EPHEMERAL


def _units(checks: Iterable[CheckResult]) -> tuple[str, ...]:
    """Return the names of units, complete as discovery writes them."""
    names = _subjects(check for check in checks if check.kind is CheckKind.UNIT)
    return tuple(
        dict.fromkeys(name if _kind(name) in UNIT_TYPES else f"{name}.service" for name in names)
    )


def _is_service(name: str) -> bool:
    return name.endswith(".service") and not name.endswith("@.service")


def _skipped(checks: Iterable[CheckResult]) -> int:
    outcomes: dict[tuple[CheckKind, str], set[Outcome]] = {}
    for check in checks:
        outcomes.setdefault((check.kind, check.subject), set()).add(check.outcome)
    return sum(met == {Outcome.SKIP} for met in outcomes.values())


def describe(report: Report) -> str:
    """Describe a verdict: what was seen if it is good, else how many checks went wrong."""
    untested = [probe for probe in report.probes if _is_untested(probe)]
    if report.outcome.is_bad or len(untested) == len(report.probes):
        return mixed(report) or "; ".join(filter(None, (VERDICTS[report.outcome], _counts(report))))
    several = len({probe.image for probe in report.probes}) < len(report.probes)
    found = [of(probe, _title(probe, several)) for probe in report.probes if probe not in untested]
    where = f"in {len(found)} probes" if several else f"on {len(found)} images"
    parts = list(filter(None, _parts(found, f" {where}" if len(found) > 1 else "")))
    for probe in untested:
        what = f"{probe.package} was not" if several else "nothing was"
        parts.append(visible(f"{what} tested on {probe.image}"))
    if report.outcome is Outcome.SKIP:
        parts = ["a step that was asked for was not taken", *parts]
    return "; ".join(parts)


def mixed(report: Report) -> str:
    """Count probes by outcome, as `1 failed, 2 passed`; '' if all have the same outcome."""
    counts = Counter(probe.outcome for probe in report.probes)
    order = (Outcome.FAIL, Outcome.ERROR, Outcome.SKIP, Outcome.PASS)
    words = [f"{counts[outcome]} {DONE[outcome]}" for outcome in order if counts[outcome]]
    return ", ".join(words) if len(words) > 1 else ""


def _title(probe: ProbeResult, several: bool) -> str:
    return f"{probe.package} on {probe.image}" if several else probe.image


def _is_untested(probe: ProbeResult) -> bool:
    return not any(step.outcome is Outcome.PASS for step in probe.steps)


def _counts(report: Report) -> str:
    """Count steps that did not pass, and checks by outcome: `1 check failed, 4 passed`.

    A fault that several steps of a probe have met counts once.
    """
    steps = [step for probe in report.probes for step in probe.steps]
    checks = sum(map(_outcomes, report.probes), Counter[Outcome]())
    bad = Counter(step.done for step in steps if step.done.is_bad)
    counts = [f"{_number(bad[o], 'step')} {DONE[o]}" for o in WORST_FIRST if bad[o]]
    noun = "check"
    for outcome in (o for o in WORST_FIRST if checks[o]):
        counts.append(f"{_count(checks[outcome], noun)} {DONE[outcome]}")
        noun = ""
    if not counts and report.outcome is Outcome.PASS:
        counts.append(f"{_number(sum(s.done is Outcome.PASS for s in steps), 'step')} passed")
    return ", ".join(counts)


def _outcomes(probe: ProbeResult) -> Counter[Outcome]:
    checks = [check for step in probe.steps for check in step.checks]
    faults = {fault_of(check) for check in checks if check.outcome.is_bad}
    rest = [check.outcome for check in checks if not check.outcome.is_bad]
    return Counter([*(outcome for outcome, *_ in faults), *rest])


def _count(count: int, noun: str) -> str:
    return _number(count, noun) if noun else str(count)


def _parts(found: Sequence[Summary], where: str) -> Iterator[str]:
    for one in found:
        for step, reason in one.omitted:
            yield f"{_on(one, found)}no {step}: {visible(reason.partition(chr(10))[0])}"
    seen = ", ".join(_seen(found))
    yield f"{seen}{where}" if seen else ""
    for one in found:
        if unused := _unused(one):
            yield f"{_on(one, found)}{unused}"
    if needing := dict.fromkeys(name for one in found for name in one.needing):
        yield f"a container cannot show {visible(', '.join(needing))}"
    gave_up = dict.fromkeys(name for one in found for name in one.gave_up)
    if gave_up:
        them = "them, they" if len(gave_up) > 1 else "it, it"
        names = visible(", ".join(gave_up))
        yield f"{names} gave up when postroj started {them} may want configuration"
    if skipped := sum(one.skipped for one in found):
        yield f"{_number(skipped, 'check')} skipped"


def _on(one: Summary, found: Sequence[Summary]) -> str:
    return f"{visible(one.title)}: " if len(found) > 1 else ""


def _seen(found: Sequence[Summary]) -> Iterator[str]:
    """Yield how many units were up, and what answered."""
    units = [name for one in found for name in one.up]
    kinds = dict.fromkeys(_kind(name) for name in units)
    for kind in sorted(kinds, key=lambda kind: (kind != "service", kind)):
        yield f"{_number(sum(_kind(name) == kind for name in units), kind)} up"
    if count := sum(len(one.ended) for one in found):
        whose = "its" if count == 1 else "their"
        yield f"{_number(count, 'service')} did {whose} work and ended"
    if count := sum(len(one.scripts) for one in found):
        yield f"{_number(count, 'SysV script')} ran and left no process"
    answers = [name for one in found for name in one.answers]
    sockets = sum(name.startswith("unix") for name in answers)
    for count, noun in ((len(answers) - sockets, "port"), (sockets, "unix socket")):
        if count:
            yield f"{_number(count, noun)} answer{'s'[: count == 1]}"
    for kind, phrases in OTHERS.items():
        if count := sum(one.others.get(kind, 0) for one in found):
            yield f"{count} {phrases[count != 1]}"


def _kind(name: str) -> str:
    return name.rpartition(".")[2]


def _unused(one: Summary) -> str:
    """Say that no service of a package ran; '' if one did."""
    if one.up or one.ended or one.scripts:
        return ""
    if one.idle is None:
        asked = one.answers or one.others
        return "" if asked else "installation only: nothing was checked"
    if not one.idle:
        return "the package has no service"
    count = len(one.idle)
    whose = "its service" if count == 1 else f"none of its {count} services"
    hint = "" if one.was_tried else " (--start)"
    verb = "was not started" if count == 1 else "was started"
    limit = "" if one.answers else "installation only: "
    return f"{limit}{whose} {verb}{hint}"


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}{'s'[: count != 1]}"
