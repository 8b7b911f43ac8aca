"""A report as suites of cases, as most formats need it: a suite per probe, a case per answer.

All text of a case is made visible, so that the output of a package cannot break a format.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from postroj.report import facts
from postroj.report.repeats import NUMBER
from postroj.report.visible import visible, visible_lines
from postroj.verdict import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from postroj.report.facts import Facts
    from postroj.verdict import CheckResult, Discovery, Evidence, ProbeResult, Report, StepResult

UNFIT = re.compile(r"[^A-Za-z0-9._@-]+")
"""What is replaced in an anchor."""
LONGEST = 100
"""Characters of a word in an anchor."""

NOT_BEGUN = "probe"
"""Name of the step in a probe that ended before its first step."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """The result of a step, or of a check after it."""

    step: str
    what: str
    """Kind and subject of a check; '' for the step itself."""
    outcome: Outcome
    sentence: str
    evidence: tuple[str, ...]
    """Lines."""
    hint: str
    seconds: float
    needs: str = ""
    """What a machine has and a container lacks, if the case was skipped for that."""
    kept: tuple[Evidence, ...] = ()
    """Evidence from the guest, in the first bad case of a step; not made visible."""
    reproduce: str = ""
    """The command line that repeats the probe, in the same case."""
    anchor: str = ""
    """Its name in a URL: the same in each report of an image, a step and a question."""
    first: str = ""
    """The step after which the same fault was met first; '' if that is this one."""

    @property
    def name(self) -> str:
        """Name of the case; unique in a suite unless a check was asked twice."""
        return f"{self.step}: {self.what}" if self.what else self.step

    @property
    def lines(self) -> tuple[str, ...]:
        """Lines that explain the outcome: sentence, evidence, hint."""
        hint = (f"hint: {self.hint}",) if self.hint else ()
        return (self.sentence, *self.evidence, *hint)

    def excerpts(self, limit: int) -> Iterator[tuple[str, str]]:
        """Yield names and texts of the evidence, each text cut to its last `limit` bytes."""
        for evidence in self.kept:
            yield evidence.name, visible_lines(evidence.within(limit).text)


@dataclass(frozen=True, kw_only=True)
class Suite:
    """The result of one probe."""

    name: str
    """The image, with the package if several were probed on that image."""
    package: str
    outcome: Outcome
    seconds: float
    cases: tuple[Case, ...]
    discovered: Discovery | None
    notes: tuple[str, ...]
    """Further remarks, as sentences."""
    image: str
    facts: Facts
    versions: str
    """The packages, each with its version."""
    anchor: str
    """Its name in a URL."""

    @property
    def needing(self) -> tuple[Case, ...]:
        """Cases that a container cannot show."""
        return tuple(case for case in self.cases if case.needs)

    def count(self, outcome: Outcome) -> int:
        """Return the number of cases with an outcome."""
        return sum(case.outcome is outcome for case in self.cases)

    @property
    def bad(self) -> tuple[Case, ...]:
        """Cases that failed or were not judged."""
        return tuple(c for c in self.cases if c.outcome.is_bad)


def suites(report: Report) -> tuple[Suite, ...]:
    """Return the probes of a report, in its order."""
    met = Counter(probe.image for probe in report.probes)
    taken: Counter[str] = Counter()
    return tuple(_suite(probe, taken, alone=met[probe.image] == 1) for probe in report.probes)


def _suite(probe: ProbeResult, taken: Counter[str], *, alone: bool) -> Suite:
    names = [package.name or package.file for package in probe.packages] or [probe.package]
    anchor = anchor_of(taken, probe.image, *([] if alone else names))
    cases = tuple(
        replace(case, anchor=anchor_of(taken, anchor, case.step, case.what))
        for case in _with_repeats(_cases(probe))
    )
    return Suite(
        name=visible(probe.image if alone else f"{probe.image} ({probe.package})"),
        package=visible(probe.package),
        outcome=probe.outcome,
        seconds=probe.timings.get("total", sum(case.seconds for case in cases)),
        cases=cases,
        discovered=next((step.discovered for step in probe.steps if step.discovered), None),
        notes=tuple(map(visible, probe.notes)),
        image=visible(probe.image),
        facts=facts.of_probe(probe),
        versions=facts.versions(probe.packages),
        anchor=anchor,
    )


def anchor_of(taken: Counter[str], *words: str) -> str:
    """Return a name of words that a URL and an id may have, and that is not taken yet."""
    texts = [UNFIT.sub("-", word)[:LONGEST].strip("-") for word in words if word]
    name = "--".join(filter(None, texts)) or "unnamed"
    taken[name] += 1
    return name if taken[name] == 1 else f"{name}--{taken[name]}"


def _with_repeats(cases: Iterable[Case]) -> Iterator[Case]:
    """Yield the cases; those of a fault that an earlier step has met say so."""
    met: dict[object, str] = {}
    for case in cases:
        if case.outcome.is_bad and case.what:
            fault = case.outcome, case.what, NUMBER.sub("0", case.sentence)
            first = met.setdefault(fault, case.step)
            case = replace(case, first=first if first != case.step else "")
        yield case


def _cases(probe: ProbeResult) -> Iterator[Case]:
    if probe.reason:
        seconds = probe.timings.get("total", 0)
        case = _case(NOT_BEGUN, "", Outcome.ERROR, probe.reason, probe.hint, seconds)
        yield replace(case, kept=probe.evidence, reproduce=visible(probe.reproduce))
    for step in probe.steps:
        cases = [_of_step(step), *(_of_check(step, check) for check in step.checks)]
        worst = next((case for case in cases if case.outcome.is_bad), None)
        for case in cases:
            if case is worst:
                case = replace(case, kept=step.evidence, reproduce=visible(probe.reproduce))
            yield case


def _of_step(step: StepResult) -> Case:
    case = _case(step.name, "", step.done, step.reason, step.hint, step.seconds)
    return replace(case, needs=visible(step.needs))


def _of_check(step: StepResult, check: CheckResult) -> Case:
    what = f"{check.kind} {check.subject}"
    case = _case(step.name, what, check.outcome, check.reason, "", check.seconds)
    return replace(case, needs=visible(check.needs))


def _case(step: str, what: str, outcome: Outcome, reason: str, hint: str, seconds: float) -> Case:
    sentence, *evidence = [visible(line) for line in reason.splitlines()] or [""]
    return Case(
        step=step,
        what=visible(what),
        outcome=outcome,
        sentence=sentence,
        evidence=tuple(evidence),
        hint=visible(hint),
        seconds=seconds,
    )
