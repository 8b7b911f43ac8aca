"""Read the reports of many packages, and put them into a table and a summary.

Only the JSON report counts; steps and keys that are unknown here are carried along.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from archive_classes import Judgement

BAD = ("fail", "error")
GONE = ("remove", "purge")
"""After these steps a passing check says that a unit or a port is no longer there."""
NOTHING_RAN = "nothing ran"
"""The subject of a package that passed though none of its own services is running."""
NAMES = {"true": "true", "tolerated": "tolerated", "false": "false", "": "not judged"}
SAID = {"true": "claimed more", "false": "said so", "": "not judged"}
"""What a judgement means about the last line of a package of which nothing ran."""
ITSELF = "the step itself"
CHECK_KEYS = {"kind", "subject", "outcome", "reason", "seconds", "discovered"}
JOURNAL = re.compile(r"[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d ")
"""The begin of a line of the journal; such lines are in the output, and differ in each run."""
LINES, LONGEST = 4, 300


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One entry of a report that somebody has to judge."""

    step: str
    """Empty if it is about the whole probe."""
    subject: str
    outcome: str
    sentence: str
    """The first lines of its reason, on one line."""
    more: str = ""
    """Other keys of the check, as `needs=the kernel module zram`."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One package and what its probe found."""

    package: str
    version: str
    verdict: str
    """The outcome, or why there is no report."""
    seconds: float
    services: int
    """How many of its own services passed in a step that leaves it installed."""
    ports: int
    """How many addresses answered in such a step, whoever listens there."""
    skipped: int
    faults: tuple[Fault, ...]


def row_of(package: str, run: Mapping[str, Any], units: Collection[str]) -> Row:
    """Return the row of a package from what was written about its run.

    `units` are those that the package ships.
    """
    (probe,) = (run["report"] or {}).get("probes") or [{}]
    steps = probe.get("steps", [])
    services = {
        unit: reason for unit, reason in _passed(steps, "unit").items() if own_service(unit, units)
    }
    ports = _passed(steps, "network")
    verdict = probe.get("outcome") or "no report"
    faults = _faults(probe)
    # if these two words of systemd were no longer in a reason, each pass would be listed
    running = any("(running)" in _line(reason, 1) for reason in services.values())
    if verdict == "pass" and not running:
        idle = {c["subject"]: c["reason"] for c in _checks(steps) if c["outcome"] == "skip"}
        parts = (f"{unit}: {_line(reason, 1)}" for unit, reason in (idle | services).items())
        sentence = _short("; ".join(parts))
        faults = [Fault(step="", subject=NOTHING_RAN, outcome=verdict, sentence=sentence)]
    if verdict == "no report" or run["killed"]:
        what = f"stopped after {run['seconds']:.0f} s" if run["killed"] else "no report"
        sentence = f"{what}, exit status {run['status']}"
        faults.insert(0, Fault(step="", subject="the probe", outcome="error", sentence=sentence))
    return Row(
        package=package,
        version=run["version"],
        verdict=verdict,
        seconds=run["seconds"],
        services=len(services),
        ports=len(ports),
        skipped=sum(check["outcome"] == "skip" for check in _checks(steps)),
        faults=_unique(faults),
    )


def own_service(unit: str, units: Collection[str]) -> bool:
    """Whether a unit is one of the services that a package ships, or an instance of one."""
    name, _, suffix = unit.rpartition(".")
    if suffix != "service":
        # `--check-unit` takes a name without a suffix
        name = unit
    template = f"{name.partition('@')[0]}@.service"
    return f"{name}.service" in units or ("@" in name and template in units)


def _passed(steps: Iterable[Any], kind: str) -> dict[str, str]:
    """Return the subjects that passed while the package was installed, with their reasons."""
    installed = [step for step in steps if step["name"] not in GONE]
    return {
        check["subject"]: check["reason"]
        for check in _checks(installed)
        if check["kind"] == kind and check["outcome"] == "pass"
    }


def _checks(steps: Iterable[Any]) -> list[Any]:
    return [check for step in steps for check in step["checks"]]


def _faults(probe: Mapping[str, Any]) -> list[Fault]:
    found = []
    if probe.get("reason"):
        sentence = _line(probe["reason"])
        found += [Fault(step="", subject="the probe", outcome="error", sentence=sentence)]
    for step in probe.get("steps", []):
        name = step["name"]
        if step["done"] in BAD:
            sentence = _line(step["reason"])
            found += [Fault(step=name, subject=ITSELF, outcome=step["done"], sentence=sentence)]
        found += [
            Fault(
                step=name,
                subject=_short(check["subject"]),
                outcome=check["outcome"],
                sentence=_line(check["reason"]),
                more=", ".join(
                    f"{key}={_short(str(check[key]))}"
                    for key in sorted(check.keys() - CHECK_KEYS)
                    if check[key]
                ),
            )
            for check in step["checks"]
            if check["outcome"] in BAD
        ]
    return found


def _unique(faults: Iterable[Fault]) -> tuple[Fault, ...]:
    """Keep the first of those with one step and subject, the key of a judgement."""
    first: dict[tuple[str, str], Fault] = {}
    for fault in faults:
        first.setdefault((fault.step, fault.subject), fault)
    return tuple(first.values())


def _line(reason: str, lines: int = LINES) -> str:
    found = [line for line in reason.splitlines() if not JOURNAL.match(line)]
    return _short(" / ".join(found[:lines]))


def _short(text: str) -> str:
    """Put a text on one line without control characters, cut to a length that can be read."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"


def tsv(rows: Sequence[Row], judged: Mapping[tuple[str, str, str], Judgement]) -> str:
    """Return a line for each fault, and one for each package without any."""
    head = "package version verdict seconds services ports skipped step subject outcome"
    lines = [[*head.split(), "class", "state", "sentence", "more"]]
    for row in rows:
        first = [row.package, row.version, row.verdict, f"{row.seconds:.0f}"]
        first += [str(row.services), str(row.ports), str(row.skipped)]
        for fault in row.faults:
            found = judged[row.package, fault.step, fault.subject]
            its = [fault.step, fault.subject, fault.outcome, found.class_, found.state]
            lines.append([*first, *its, fault.sentence, fault.more])
        if not row.faults:
            lines.append([*first, *[""] * 7])
    return "".join("\t".join(line) + "\n" for line in lines)


def rst(rows: Sequence[Row], judged: Mapping[tuple[str, str, str], Judgement]) -> str:
    """Return a list-table for a page of the documentation, with a row for each package."""
    cells = [[["package"], ["verdict"], ["services, ports"], ["failing checks, and their class"]]]
    for row in rows:
        name = [f"``{row.package}``", plain(row.version)]
        verdict = [row.verdict, f"{row.seconds:.0f} s"]
        alike: dict[tuple[str, str, str], list[str]] = {}
        for fault in row.faults:
            what = judged[row.package, fault.step, fault.subject].class_ or "not judged"
            alike.setdefault((what, fault.subject, fault.sentence), []).append(fault.step)
        faults = [
            " ".join(filter(None, [f"**{what}**", ", ".join(steps), plain(f"{subject}: {said}")]))
            for (what, subject, said), steps in alike.items()
        ]
        cells.append([name, verdict, [f"{row.services}, {row.ports}"], faults])
    text = ".. list-table::\n   :header-rows: 1\n   :widths: 20 10 10 60\n\n"
    for line in cells:
        for number, parts in enumerate(line):
            body = "\n       ".join(f"| {part}" for part in parts)
            text += (f"   {'*' if number == 0 else ' '} - {body}").rstrip() + "\n"
    return text


def plain(text: str) -> str:
    r"""Escape all marks of reStructuredText; a backslash before other characters is dropped."""
    return "".join(c if c.isalnum() or c in " /.,;-" else f"\\{c}" for c in text).strip()


def summary(
    title: str,
    rows: Sequence[Row],
    judged: Mapping[tuple[str, str, str], Judgement],
    missing: Sequence[str],
) -> str:
    """Return the numbers: verdicts, classes, packages with a false accusation."""
    verdicts = Counter(row.verdict for row in rows)
    faults = [(row.package, fault) for row in rows for fault in row.faults]
    accusing = [(name, fault) for name, fault in faults if fault.subject != NOTHING_RAN]
    idle = [(name, fault) for name, fault in faults if fault.subject == NOTHING_RAN]

    def class_of(name: str, fault: Fault) -> str:
        return judged[name, fault.step, fault.subject].class_

    false = sorted({name for name, fault in accusing if class_of(name, fault) == "false"})
    share = f" ({len(false) / len(rows):.1%})" if rows else ""
    states = Counter(judgement.state for judgement in judged.values())
    lines = [
        (title, ""),
        ("packages with a report", str(len(rows))),
        ("verdicts", ", ".join(f"{n} {what}" for what, n in sorted(verdicts.items()))),
        ("failing checks", _classes(class_of(*one) for one in accusing)),
        ("packages with a false accusation", f"{len(false)}{share} {' '.join(false)}"),
        ("passed though nothing ran", _classes((class_of(*one) for one in idle), SAID)),
        ("", " ".join(name for name, _ in idle)),
        ("judgements", f"{states['changed']} changed, {states['gone']} gone"),
        ("without a report", f"{len(missing)} {' '.join(missing)}"),
    ]
    return "".join(f"{left:34}{right}".rstrip() + "\n" for left, right in lines if left or right)


def _classes(classes: Iterable[str], names: Mapping[str, str] = NAMES) -> str:
    found = Counter(classes)
    parts = ", ".join(f"{found[key]} {name}" for key, name in names.items() if found[key])
    return f"{found.total()}: {parts}" if parts else "0"
