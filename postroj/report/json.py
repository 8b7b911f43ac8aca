"""The report as JSON. Within a schema number, keys are added but never renamed."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from postroj.report import summary
from postroj.verdict import Report

if TYPE_CHECKING:
    from collections.abc import Sequence

    from postroj.verdict import CheckResult, Evidence, Host, ProbeResult, StepResult

SCHEMA = 1


def render(report: Report) -> str:
    """Return the report as JSON text in ASCII, safe for every terminal and locale."""
    document = {
        "schema": SCHEMA,
        "outcome": report.outcome,
        "summary": summary.describe(report),
        "date": report.date,
        "version": report.version,
        "host": _host(report.host),
        "probes": [_probe(probe) for probe in report.probes],
    }
    return json.dumps(document, indent=2)


def _host(host: Host | None) -> dict[str, Any] | None:
    if host is None:
        return None
    return {
        "kernel": host.kernel,
        "architecture": host.architecture,
        "distribution": host.distribution,
        "root": host.is_root,
    }


def _probe(probe: ProbeResult) -> dict[str, Any]:
    return {
        "image": probe.image,
        "package": probe.package,
        "packages": [asdict(package) for package in probe.packages],
        "date": probe.date,
        "architecture": probe.architecture,
        "image_digest": probe.image_digest,
        "outcome": probe.outcome,
        "reason": probe.reason,
        "hint": probe.hint,
        "summary": _summary(probe),
        "notes": list(probe.notes),
        "steps": [_step(step) for step in probe.steps],
        "guest": probe.guest,
        "own_kernel": probe.own_kernel,
        "evidence": _evidence(probe.evidence),
        "reproduce": probe.reproduce,
        "timings": {part: _seconds(seconds) for part, seconds in probe.timings.items()},
    }


def _summary(probe: ProbeResult) -> dict[str, Any]:
    found = summary.of(probe)
    return {
        "text": summary.describe(Report(probes=(probe,))),
        "up": list(found.up),
        "ended": list(found.ended),
        "scripts": list(found.scripts),
        "started": list(found.started),
        "gave_up": list(found.gave_up),
        "idle": None if found.idle is None else list(found.idle),
        "answers": list(found.answers),
        "skipped": found.skipped,
        "omitted": [name for name, _ in found.omitted],
    }


def _step(step: StepResult) -> dict[str, Any]:
    return {
        "name": step.name,
        "outcome": step.outcome,
        "done": step.done,
        "reason": step.reason,
        "hint": step.hint,
        "needs": step.needs,
        "omitted": step.omitted,
        "own_kernel": step.own_kernel,
        "seconds": _seconds(step.seconds),
        "checks": [_check(check) for check in step.checks],
        "discovered": asdict(step.discovered) if step.discovered else None,
        "evidence": _evidence(step.evidence),
    }


def _evidence(found: Sequence[Evidence]) -> dict[str, str]:
    return {evidence.name: evidence.text for evidence in found}


def _check(check: CheckResult) -> dict[str, Any]:
    return {
        "kind": check.kind,
        "subject": check.subject,
        "outcome": check.outcome,
        "reason": check.reason,
        "seconds": _seconds(check.seconds),
        "discovered": check.discovered,
        "started": check.started,
        "dependency": check.is_dependency,
        "why": check.why,
        "needs": check.needs,
        "own_kernel": check.own_kernel,
    }


def _seconds(value: float) -> float:
    return round(value, 3)
