"""`--artifacts`: write the report, the evidence of failures, and a script for each failed probe.

    DIR/report.json
    DIR/IMAGE/reproduce.sh     for a probe that did not pass
    DIR/IMAGE/STEP/NAME.txt    evidence; STEP is `probe` if the probe ended before its steps

No path contains text from a guest.
"""

from __future__ import annotations

from collections import Counter
from tempfile import TemporaryFile
from typing import TYPE_CHECKING

from postroj.cli.files import put_file, writable
from postroj.report import json
from postroj.report.cases import NOT_BEGUN
from postroj.report.visible import visible_lines

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from postroj.verdict import Evidence, ProbeResult, Report


def prepare(folder: Path) -> None:
    """Create the folder and test that it is writable.

    :raises UsageError: if it is not.
    """
    with writable(folder):
        folder.mkdir(parents=True, exist_ok=True)
        TemporaryFile(dir=folder).close()


def write(report: Report, folder: Path) -> None:
    """Write all files, replacing those of an earlier run only.

    :raises UsageError: if a file is not writable.
    :raises ImageError: if the disk is full.
    """
    met: Counter[str] = Counter()
    for probe in report.probes:
        met[probe.image] += 1
        again = f"-{met[probe.image]}" if met[probe.image] > 1 else ""
        _write_probe(probe, folder / f"{probe.image}{again}")
    put_file(folder / "report.json", json.render(report) + "\n")


def _write_probe(probe: ProbeResult, folder: Path) -> None:
    for step, evidence in _evidence(probe):
        target = folder / step
        with writable(target):
            target.mkdir(parents=True, exist_ok=True)
        put_file(target / f"{evidence.name}.txt", visible_lines(evidence.text) + "\n")
    if probe.outcome.is_bad and probe.reproduce:
        script = folder / "reproduce.sh"
        with writable(script):
            folder.mkdir(exist_ok=True)
            put_file(script, f'#!/bin/sh\nexec {probe.reproduce} "$@"\n')
            script.chmod(0o755)


def _evidence(probe: ProbeResult) -> Iterator[tuple[str, Evidence]]:
    yield from ((NOT_BEGUN, evidence) for evidence in probe.evidence)
    yield from ((step.name, evidence) for step in probe.steps for evidence in step.evidence)
