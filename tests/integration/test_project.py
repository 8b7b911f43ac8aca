"""`postroj pkgprobe` without a word: all of it is in the file of the project."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from tests.support import debs
from tests.support.cli import postroj

if TYPE_CHECKING:
    from pathlib import Path

FILE = """\
package = "dist/projected*.deb"
image = ["{image}", "debian-sid"]
settle = 0
check-timeout = 5
check-unit = "projected-good.service"
report = ["json=report.json", "junit=report.xml"]

[[expect]]
image = "debian-*"
outcome = "fail"
check = ["projected-bad.service", "no newly failed unit"]
reason = "the daemon is not there yet"
until = 2999-01-01

[[expect]]
image = "{image}"
outcome = "fail"
check = "projected-good.*"
reason = "bug 7"
until = 2999-01-02

[[expect]]
image = "{image}"
outcome = "skip"
reason = "no libx there"
until = 2020-01-01

[[expect]]
image = "debian-sid"
outcome = "skip"
reason = "too new"
until = 2999-01-03
"""
EXCUSE = "expected to fail: the daemon is not there yet (until 2999-01-01)"
NOTES = [
    "expected to fail, but passed; remove the expectation: bug 7 (until 2999-01-02)",
    "no longer expected to be skipped (expired on 2020-01-01): no libx there",
]


def test_expect_of_a_project_excuses_one_release(image: str, tmp_path: Path) -> None:
    dist = tmp_path / "dist"
    dist.mkdir()
    debs.service(dist, "projected-good", "/bin/sleep infinity")
    debs.service(dist, "projected-bad", "/bin/false")
    (tmp_path / "postroj.toml").write_text(FILE.format(image=image))
    done = postroj("pkgprobe", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr.startswith("from 'postroj.toml': package, image, check-unit, settle, ")

    report = json.loads((tmp_path / "report.json").read_text())
    tried, untried = report["probes"]
    (step, _) = tried["steps"]
    found = {check["subject"]: check for check in step["checks"]}
    assert found["projected-good.service"]["outcome"] == "pass"
    for subject in ("projected-bad.service", "no newly failed unit"):
        assert found[subject]["outcome"] == "skip"
        sentence, failure, *_ = found[subject]["reason"].splitlines()
        assert sentence == EXCUSE
        assert failure.startswith("failed")
        assert f"{EXCUSE}\n          | {failure}" in done.stdout
    assert tried["notes"] == NOTES
    assert all(f"note: {note}" in done.stdout for note in NOTES)
    assert (tried["outcome"], untried["outcome"]) == ("pass", "skip")
    assert untried["steps"][0]["reason"] == "not tried: too new (until 2999-01-03)"

    suite, _ = ElementTree.parse(tmp_path / "report.xml").getroot()
    assert (suite.get("failures"), suite.get("skipped")) == ("0", "2")
    assert [skipped.get("message") for skipped in suite.iter("skipped")] == [EXCUSE, EXCUSE]
