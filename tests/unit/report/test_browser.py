"""The HTML pages in a real browser: what is visible, and that the policy lets the style apply.

Needs Chromium or Chrome, which `make test` installs on Debian.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from postroj.report import history_html
from postroj.report.history import histories
from postroj.report.html import render
from postroj.report.reader import read
from postroj.verdict import Outcome, Report
from tests.unit.report.nights import night, put
from tests.unit.report.samples import SAMPLE, check, probe

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)

pytestmark = pytest.mark.skipif(not BROWSER, reason="neither Chromium nor Chrome is installed")

SCRIPT = """
const seen = () => [...document.querySelectorAll(%s)].filter(e => e.offsetParent !== null);
const click = boxes => boxes.forEach(id => document.getElementById(id).click());
const found = %s.map(boxes => {
  click(boxes);
  const ids = seen().map(e => e.id);
  click(boxes);
  return ids;
});
const out = document.createElement("output");
out.textContent = JSON.stringify(found);
document.body.append(out);
"""
OUTPUT = re.compile(r"<output>(.*)</output>")


def visible(
    page: str, folder: Path, selector: str, *clicked: Sequence[str], width: int = 1300
) -> list[list[str]]:
    """Return the ids of the elements that are visible after each of these sets of clicks.

    The policy of the page is kept, and lets this script run as well.
    """
    boxes = [[f"filter--{name}" for name in names] for names in clicked]
    script = SCRIPT % (json.dumps(selector), json.dumps(boxes))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page = page.replace("default-src 'none'", f"default-src 'none'; script-src 'sha256-{digest}'")
    file = folder / "page.html"
    file.write_text(page.replace("</body>", f"<script>{script}</script></body>"), "utf-8")
    argv = [str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    argv += ["--disable-background-networking", "--disable-component-update"]
    argv += [f"--window-size={width},900", f"--user-data-dir={folder / 'profile'}", file.as_uri()]
    done = subprocess.run(argv, capture_output=True, check=True, timeout=120)
    (found,) = OUTPUT.findall(done.stdout.decode())
    ids: list[list[str]] = json.loads(found)
    return ids


ROWS = ".matrix tbody th"
INSTALL = "install"
SERVICE = "install--unit-redis-server.service"
TEMPLATE = "install--unit-redis-server@.service"
PORT = "install--network-tcp-127.0.0.1-6380"


@pytest.mark.parametrize("width", [1300, 500])
def test_boxes_hide_rows(tmp_path: Path, width: int) -> None:
    clicks = {
        (): ["probe", INSTALL, SERVICE, TEMPLATE, PORT],
        ("outcome-2", "outcome-3", "outcome-0"): [INSTALL, PORT],
        ("outcome-1",): ["probe", INSTALL, SERVICE, TEMPLATE],
        ("image-0",): ["probe", INSTALL, SERVICE],
        ("image-0", "outcome-2"): ["probe"],
        ("image-0", "image-0"): ["probe", INSTALL, SERVICE, TEMPLATE, PORT],
    }
    found = visible(render(SAMPLE), tmp_path, ROWS, *clicks, width=width)
    expected = [[f"row--{name}" for name in rows] for rows in clicks.values()]
    assert found == expected


def test_boxes_hide_images_and_failures(tmp_path: Path) -> None:
    first, second = f"failure--debian-trixie--{PORT}", "failure--fedora-43--probe"
    images = ["debian-trixie", "debian-sid", "fedora-43"]
    clicks = {
        (): [first, second, *images],
        ("image-2",): [first, *images[:2]],
        ("outcome-2", "outcome-3"): [first, second, images[0], images[2]],
        ("outcome-1",): [second, *images],
    }
    found = visible(render(SAMPLE), tmp_path, ".matrix thead th[id], article", *clicks)
    assert found == [*clicks.values()]


def test_boxes_hide_packages(tmp_path: Path) -> None:
    skip = check(Outcome.SKIP, "other.service")
    probes = (
        probe("debian-sid", check(Outcome.PASS), package="a.deb"),
        probe("debian-sid", skip, package="b.deb"),
    )
    page = render(Report(probes=probes))
    one, both = visible(page, tmp_path, ROWS, ["package-0"], ["package-0", "outcome-1"])
    assert one == ["row--install", "row--install--unit-other.service"]
    assert both == ["row--install"]


def test_boxes_hide_histories(tmp_path: Path) -> None:
    nights = [
        put(tmp_path, day, night(day, outcome), night(day, Outcome.PASS, image="fedora-43"))
        for day, outcome in ((1, Outcome.PASS), (2, Outcome.FAIL))
    ]
    runs = (run for file in nights for run in read(file.read_bytes(), file.name, 0))
    page = history_html.render(histories(runs))
    bad, good = "redis--debian-trixie", "redis--fedora-43"
    clicks = {
        (): [f"broken--{bad}", bad, good],
        ("outcome-0",): [good],
        ("outcome-1",): [f"broken--{bad}", bad],
        ("image-0",): [good],
    }
    found = visible(page, tmp_path, "article, .history h2", *clicks)
    assert found == [*clicks.values()]


def test_style_applies_under_the_policy(tmp_path: Path) -> None:
    """Without it the empty cells would be visible on a narrow screen."""
    page = render(SAMPLE).replace("<td", '<td id="cell"')
    assert visible(page, tmp_path, "td.none", [], width=500) == [[]]
    other = page.replace("style-src 'sha256-", "style-src 'sha256-0")
    assert visible(other, tmp_path, "td.none", [], width=500) == [["cell"] * 8]
