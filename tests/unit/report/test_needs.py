"""A skip for want of a machine is a kind of its own in every report."""

from __future__ import annotations

import json
from dataclasses import replace

from postroj.report import github, html, junit, summary
from postroj.report.json import render
from postroj.verdict import CheckKind, CheckResult, Outcome, Report, StepName, StepResult
from tests.unit.report.samples import probe

NEED = "the device '/dev/tty8'"
SENTENCE = f"a container cannot show this: needs {NEED}; failed"
CHECK = CheckResult(
    kind=CheckKind.UNIT,
    subject="x.service",
    outcome=Outcome.SKIP,
    reason=f"{SENTENCE}\nits journal",
    seconds=0,
    needs=NEED,
)
STEP = StepResult(
    name=StepName.INSTALL, done=Outcome.PASS, reason="x 1.0", seconds=1, checks=(CHECK,)
)
REPORT = Report(probes=(replace(probe("debian-sid"), steps=(STEP,)),))


def test_json_has_the_need_of_a_check() -> None:
    (step,) = json.loads(render(REPORT))["probes"][0]["steps"]
    assert (step["needs"], step["checks"][0]["needs"]) == ("", NEED)


def test_junit_has_the_need_beside_the_skip() -> None:
    text = junit.render(REPORT)
    assert f'<skipped message="{SENTENCE}" />' in text
    assert f"<system-out>needs: {NEED}</system-out>" in text


def test_github_notes_the_need_and_lists_it_in_the_summary() -> None:
    assert f"::{SENTENCE}" in github.commands(REPORT)
    assert "a container cannot show this" in github.summary(REPORT)


def test_html_shows_the_need_without_a_click() -> None:
    text = html.render(REPORT)
    summary = text.partition("a container cannot show this")[0]
    assert summary.rindex("<summary") > summary.rindex("</summary")


def test_verdict_names_units_that_a_container_cannot_show() -> None:
    assert "a container cannot show x.service" in summary.describe(REPORT)
