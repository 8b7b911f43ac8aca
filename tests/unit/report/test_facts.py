"""What a report was made of, when and where, in the formats for CI servers."""

from __future__ import annotations

from xml.etree import ElementTree

from postroj.report import facts, github, junit, tap
from postroj.verdict import Outcome, Package, Report
from tests.unit.report.nights import HOST, night
from tests.unit.report.samples import HOSTILE

REPORT = Report(
    probes=(night(3, Outcome.PASS),), date="2026-01-03T02:59:00Z", version="0.1.0", host=HOST
)
MADE = (
    "postroj 0.1.0, 2026-01-03T02:59:00Z, Debian GNU/Linux 13, kernel 6.12.9-amd64, x86_64, as root"
)


def test_sentence_about_a_run() -> None:
    assert facts.sentence(REPORT) == MADE
    assert facts.sentence(Report(probes=())) == ""


def test_versions_name_a_file_without_metadata() -> None:
    known = Package(file="a.deb", name="a", version="1:2", architecture="all")
    assert facts.versions([known, Package(file="b\x1b.deb")]) == r"a 1:2 (all), b\x1b.deb"


def test_junit_has_properties_and_a_timestamp() -> None:
    (suite,) = ElementTree.fromstring(junit.render(REPORT))
    assert suite.get("timestamp") == "2026-01-03T03:00:00Z"
    found = {one.get("name"): one.get("value") for one in suite.iter("property")}
    assert found["image.digest"] == f"sha256:{'a' * 64}"
    assert (found["package.name"], found["package.version"]) == ("redis", "7.0-1")
    assert (found["postroj"], found["host.kernel"]) == ("0.1.0", "6.12.9-amd64")
    assert "date" not in found


def test_tap_has_comments() -> None:
    lines = tap.render(REPORT).splitlines()
    assert "# debian-trixie: package.version 7.0-1" in lines
    assert lines[-1] == "# host.user root"


def test_summary_of_github_ends_with_the_facts() -> None:
    known = f"redis 7.0-1 (amd64), {MADE}"
    assert github.summary(REPORT).rstrip().endswith(github._text(known))


def test_metadata_of_a_package_stays_on_its_line() -> None:
    package = Package(file=HOSTILE, name=f"{HOSTILE}\nok 1", version="\nBail out!")
    report = Report(probes=(night(3, Outcome.PASS),))
    (probe,) = report.probes
    hostile = Report(probes=(type(probe)(image=probe.image, package="x", packages=(package,)),))
    lines = tap.render(hostile).splitlines()
    assert lines[:2] == ["TAP version 13", "1..0 # SKIP nothing was tested"]
    assert all(line.startswith("# ") and line.isprintable() for line in lines[2:])
