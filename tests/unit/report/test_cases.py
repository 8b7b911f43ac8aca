"""A report as suites of cases."""

from __future__ import annotations

from dataclasses import replace

from postroj.report.cases import suites
from postroj.verdict import Evidence, EvidenceName, Outcome, Report
from tests.unit.report import samples

KEPT = (Evidence(name=EvidenceName.JOURNAL, text="why"),)


def test_the_evidence_of_a_step_is_in_its_first_bad_case_alone() -> None:
    checks = [samples.check(outcome) for outcome in (Outcome.PASS, Outcome.FAIL, Outcome.ERROR)]
    probe = replace(samples.probe("debian-sid", *checks, evidence=KEPT), reproduce="again")
    (suite,) = suites(Report(probes=(probe,)))
    assert [case.outcome for case in suite.cases[-3:]] == [check.outcome for check in checks]
    assert [case.kept for case in suite.cases[-3:]] == [(), KEPT, ()]
    assert [case.reproduce for case in suite.cases[-3:]] == ["", "again", ""]


def test_the_evidence_of_a_probe_that_an_error_has_ended_is_in_a_case_of_its_own() -> None:
    probe = replace(samples.probe("debian-sid"), reason="no guest\nlog", evidence=KEPT, steps=())
    (suite,) = suites(Report(probes=(probe,)))
    (case,) = suite.cases
    assert (case.step, case.outcome, case.sentence) == ("probe", Outcome.ERROR, "no guest")
    assert (case.evidence, case.kept) == (("log",), KEPT)
