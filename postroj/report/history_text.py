"""Histories as a table for a terminal, and as JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from postroj.report.table import table
from postroj.verdict import WORST_FIRST, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from postroj.report.history import History, Run

SCHEMA = 1
HEADER = ("package", "image", "outcome", "version", "date", "runs")
SHOWN = 3
"""Number of faults of a run that are shown."""
VERBS = {Outcome.FAIL: "fails", Outcome.ERROR: "not judged"}
UNCHANGED = "nothing that both reports tell"


def title(one: History, found: Sequence[History]) -> str:
    """Return the image, with its architecture if there are several of that name."""
    several = {other.architecture for other in found if other.image == one.image}
    return f"{one.image} ({one.architecture})" if len(several) > 1 else one.image


def render(found: Sequence[History], paint: Callable[[Outcome, str], str]) -> str:
    """Return a table of the newest runs, and below it what broke and what never passed."""
    rows = [
        (
            one.package,
            title(one, found),
            paint(one.outcome, one.outcome),
            one.newest.version,
            one.newest.when,
            str(len(one.runs)),
        )
        for one in found
    ]
    lines = [table(rows, HEADER)]
    for one in sorted(found, key=lambda one: WORST_FIRST.index(one.outcome)):
        if since := one.since:
            head = f"{one.package} on {title(one, found)}: {sentence(one)}"
            lines += ["", head, *(f"  {where}: {text}" for where, text in since.faults[:SHOWN])]
            if more := len(since.faults) - SHOWN:
                lines += [f"  and {more} more"] * (more > 0)
    return "\n".join(lines)


def sentence(one: History) -> str:
    """Say since when a history is bad, when it passed, and what changed; '' if it is not bad."""
    return "; ".join(_parts(one))


def _parts(one: History) -> Iterator[str]:
    if not (since := one.since):
        return
    yield f"{VERBS[one.outcome]} since {_run(since)}"
    if one.last_pass is None:
        yield "passed in none of these reports"
        return
    yield f"passed last {_run(one.last_pass)}"
    yield f"changed: {', '.join(map(str, one.changes)) or UNCHANGED}"


def _run(run: Run) -> str:
    return f"{run.when} ({run.version})" if run.version else run.when


def render_json(found: Sequence[History]) -> str:
    """Return the histories as JSON in ASCII. Keys are added within a schema, never renamed."""
    return json.dumps({"schema": SCHEMA, "histories": [_history(one) for one in found]}, indent=2)


def _history(one: History) -> dict[str, Any]:
    return {
        "package": one.package,
        "image": one.image,
        "architecture": one.architecture,
        "outcome": one.outcome,
        "broken": one.is_broken,
        "since": one.since and _run_json(one.since),
        "last_pass": one.last_pass and _run_json(one.last_pass),
        "changes": [change._asdict() for change in one.changes],
        "runs": [_run_json(run) for run in one.runs],
    }


def _run_json(run: Run) -> dict[str, Any]:
    return {
        "date": run.date.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "dated": run.is_dated,
        "outcome": run.outcome,
        "version": run.version,
        "sha256": list(run.digests),
        "image_digest": run.image_digest,
        "postroj": run.postroj,
        "distribution": run.distribution,
        "kernel": run.kernel,
        "faults": [fault._asdict() for fault in run.faults],
        "report": run.file,
    }
