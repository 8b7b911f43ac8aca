"""The XML of JUnit: read back by junitparser, and held against what its consumers allow."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree

import pytest
from junitparser import Error, Failure, JUnitXml, Skipped

from postroj.report.junit import render
from postroj.verdict import Evidence, EvidenceName, Outcome, Report
from tests.unit.report.samples import NOTHING, ODD, SAMPLE, check, probe

if TYPE_CHECKING:
    from collections.abc import Iterator
    from xml.etree.ElementTree import Element

COUNTS = {"tests", "failures", "errors", "time"}
ALLOWED = {
    "testsuites": ({"testsuite"}, {"name", *COUNTS}, set()),
    "testsuite": ({"properties", "testcase"}, {"name", *COUNTS}, {"skipped"}),
    "properties": ({"property"}, set(), set()),
    "property": (set(), {"name", "value"}, set()),
    "testcase": (
        {"failure", "error", "skipped", "system-out"},
        {"name", "classname", "time"},
        set(),
    ),
    "failure": (set(), {"message", "type"}, set()),
    "error": (set(), {"message", "type"}, set()),
    "skipped": (set(), {"message"}, set()),
    "system-out": (set(), set(), set()),
}
"""Of each element: its children, the attributes that it must have, those that it may have."""
VERDICTS = {"failure", "error", "skipped"}
HOLD_TEXT = {"failure", "error", "system-out"}


def elements(text: str) -> Iterator[Element]:
    return ElementTree.fromstring(text.encode()).iter()


@pytest.mark.parametrize("report", [SAMPLE, ODD, NOTHING])
def test_structure_of_suites_and_cases(report: Report) -> None:
    for element in elements(render(report)):
        children, must, may = ALLOWED[element.tag]
        assert {child.tag for child in element} <= children
        assert must <= set(element.attrib) <= must | may
        assert element.tag in HOLD_TEXT or not (element.text or "").strip()
        assert not (element.tail or "").strip()
        if element.tag == "testcase":
            assert sum(child.tag in VERDICTS for child in element) <= 1
            assert [child.tag for child in element][1:] in ([], ["system-out"])
        if element.tag == "testsuite":
            cases = element.findall("testcase")
            assert int(element.attrib["tests"]) == len(cases)
            for attribute, tag in (
                ("failures", "failure"),
                ("errors", "error"),
                ("skipped", "skipped"),
            ):
                assert int(element.attrib[attribute]) == len(element.findall(f"testcase/{tag}"))


@pytest.mark.parametrize("report", [SAMPLE, ODD])
def test_outcomes_survive_a_junit_parser(report: Report) -> None:
    suites = list(JUnitXml.fromstring(render(report).encode()))
    for suite, given in zip(suites, report.probes, strict=True):
        outcomes = [given.outcome] if given.reason else []
        for step in given.steps:
            outcomes += [step.done, *(check.outcome for check in step.checks)]
        kinds = {Outcome.FAIL: Failure, Outcome.ERROR: Error, Outcome.SKIP: Skipped}
        wanted = [[kinds[o]] if o in kinds else [] for o in outcomes]
        assert [[type(result) for result in case.result] for case in suite] == wanted


def test_texts_of_a_junit_parser() -> None:
    xml = JUnitXml.fromstring(render(SAMPLE).encode())
    assert (xml.tests, xml.failures, xml.errors, xml.time) == (7, 1, 1, 27.0)
    trixie, _, fedora = list(xml)
    assert (trixie.name, trixie.time, trixie.skipped) == ("debian-trixie", 12.75, 1)
    (package,) = trixie.properties()  # type: ignore[no-untyped-call]
    assert (package.name, package.value) == ("package", "redis_7.0_amd64.deb")
    install, unit, template, network = list(trixie)
    assert (install.classname, install.name, install.time) == ("debian-trixie", "install", 5.5)
    assert install.system_out == "redis 7.0 (amd64)\nbrings 2 units"
    assert (unit.name, unit.time) == ("install: unit redis-server.service", 2.346)
    assert template.result[0].message == "a template"
    assert network.name == "install: network tcp://127.0.0.1:6380"
    assert network.system_out == "== jobs ==\nNo jobs running.\n\n== cores ==\n\n"
    assert [case.system_out for case in (template, *fedora)] == [None, None]
    (failure,) = network.result
    assert (failure.type, failure.message) == ("fail", "connection refused for 5 s")
    assert failure.text == "connection refused for 5 s\nlistens: 127.0.0.1:6379"
    (case,) = list(fedora)
    assert (case.name, case.result[0].type) == ("probe", "error")
    assert case.result[0].text == "no guest\nlog line\nhint: `postroj doctor` shows what is lacking"


def test_suites_of_one_image_are_named_with_their_packages() -> None:
    report = Report(probes=(probe("debian-sid", package="a.deb"), probe("debian-sid")))
    names = [suite.name for suite in JUnitXml.fromstring(render(report).encode())]
    assert names == ["debian-sid (a.deb)", "debian-sid (redis_7.0_amd64.deb)"]


def test_characters_invalid_in_xml_are_escaped() -> None:
    text = render(ODD)
    assert r"\x00" in text
    assert r"\x08" in text
    assert r"\ud800" in text
    assert r"\ufffe" in text
    assert "日本 🎉" in text
    assert all(char.isprintable() or char == "\n" for char in text)


def test_evidence_is_cut_to_size() -> None:
    text = "".join(f"line {number}\n" for number in range(100_000))
    said = Evidence(name=EvidenceName.JOURNAL, text=text)
    (suite,) = JUnitXml.fromstring(
        render(Report(probes=(probe("sid", check(Outcome.FAIL), evidence=(said,)),))).encode()
    )
    (shown,) = [case.system_out for case in suite if case.system_out and "==" in case.system_out]
    assert shown.startswith("== journal ==\n... the last 8 KiB ...\nline 99")
    assert shown.endswith("\nline 99999\n")
    assert 7000 < len(shown) < 8400
