"""The Test Anything Protocol: read back by the parsers of Python and Perl."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from tap.parser import Parser

from postroj.report.cases import suites
from postroj.report.tap import render
from postroj.verdict import Outcome, Report
from tests.unit.report.samples import NOTHING, ODD, SAMPLE

if TYPE_CHECKING:
    from pathlib import Path

READ_ALL = r"""
use strict; use warnings; use TAP::Parser;
my $parser = TAP::Parser->new({ source => $ARGV[0] });
while (my $result = $parser->next) {
  next if $result->is_comment;
  my $word = $result->is_test ? ($result->has_skip ? "skip" : $result->is_ok ? "pass" : "bad")
    : $result->type;
  print "$word\n";
}
print "trouble: $_\n" for $parser->parse_errors;
"""


def words(report: Report) -> list[str]:
    bad = (Outcome.FAIL, Outcome.ERROR)
    return [
        "bad" if case.outcome in bad else str(case.outcome)
        for suite in suites(report)
        for case in suite.cases
    ]


@pytest.mark.parametrize("report", [SAMPLE, ODD])
def test_outcomes_survive_a_python_parser(report: Report) -> None:
    lines = Parser().parse_text(render(report))
    version, plan, *points = (line for line in lines if line.category != "diagnostic")
    assert version.version == 13
    assert plan.expected_tests == len(points)
    assert [point.category for point in points] == ["test"] * len(points)
    found = ["skip" if p.skip else "pass" if p.ok else "bad" for p in points]
    assert found == words(report)
    cases = [case for suite in suites(report) for case in suite.cases]
    for point, case in zip(points, cases, strict=True):
        assert point.todo is False
        block = point.yaml_block
        assert (block["outcome"], block["message"]) == (case.outcome, case.sentence)
        assert block.get("evidence", "") == "\n".join(case.evidence)
        assert block.get("hint", "") == case.hint


@pytest.mark.parametrize("report", [SAMPLE, ODD])
def test_outcomes_survive_perls_harness(report: Report, tmp_path: Path) -> None:
    file = tmp_path / "report.tap"
    file.write_text(render(report) + "\n", "utf-8")
    argv = ["perl", "-e", READ_ALL, str(file)]
    done = subprocess.run(argv, capture_output=True, check=True, text=True)
    assert done.stderr == ""
    version, plan, *found = done.stdout.split("\n")[:-1]
    assert (version, plan) == ("version", "plan")
    assert [word for word in found if word != "yaml"] == words(report)
    assert len(found) == 2 * len(words(report))


def test_text_of_a_whole_report() -> None:
    text = render(SAMPLE)
    assert text.startswith("TAP version 13\n1..7\nok 1 - debian-trixie: install\n  ---\n")
    assert "ok 3 - debian-trixie: install: unit redis-server@.service # SKIP a template\n" in text
    assert (
        "not ok 4 - debian-trixie: install: network tcp://127.0.0.1:6380\n"
        "  ---\n"
        "  outcome: fail\n"
        "  seconds: 2.346\n"
        '  message: "connection refused for 5 s"\n'
        '  evidence: "listens: 127.0.0.1:6379"\n'
        "  ...\n"
    ) in text


def test_notes_are_comments() -> None:
    (line,) = [line for line in render(ODD).splitlines() if line.startswith("# ")]
    assert render(ODD).splitlines()[-1] == line
    (probe,) = [probe for probe in SAMPLE.probes if probe.image == "debian-sid"]
    noted = replace(probe, notes=("it can go",))
    assert render(Report(probes=(noted,))).endswith("\n# debian-sid: it can go")


def test_hash_signs_of_a_package_are_no_directives() -> None:
    for line in render(ODD).splitlines():
        if re.match(r"not ok", line):
            assert "#" not in line


def test_report_without_probes() -> None:
    assert render(NOTHING) == "TAP version 13\n1..0 # SKIP nothing was tested"
