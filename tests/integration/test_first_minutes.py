"""The first ten minutes of five new users: what they type, and what they then see.

A packager of a company, a Debian developer, a packager of Fedora, somebody on macOS, somebody on
Windows.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support import debs, rpms
from tests.support.cli import DEFAULT_IMAGE, postroj
from tests.support.sshd import Sshd

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

pytestmark = pytest.mark.integration

ELSEWHERE = Path(__file__).parents[1] / "support" / "elsewhere"
UNIT = debs.SERVICE.format(
    name="hello-web", kind="simple", command="/usr/bin/perl -e 'sleep 1 while 1'", more=""
)
START = "#!/bin/sh\nset -e\nsystemctl daemon-reload\nsystemctl enable --now hello-web.service\n"


@dataclass(frozen=True)
class Shell:
    """A shell of somebody who types postroj for the first time."""

    folder: Path
    env: Mapping[str, str] = field(default_factory=dict)

    def types(self, line: str, status: int = 0) -> str:
        """Type a line, with patterns as a shell expands them, and return all that is shown."""
        words = [word for text in shlex.split(line) for word in self._expanded(text)]
        assert words.pop(0) == "postroj"
        done = postroj(*words, cwd=self.folder, env=os.environ | self.env)
        shown = done.stdout + done.stderr
        assert done.returncode == status, (line, shown)
        assert "Traceback" not in shown
        return shown

    def _expanded(self, text: str) -> list[str]:
        found = sorted(self.folder.glob(text)) if "*" in text else []
        return [str(path.relative_to(self.folder)) for path in found] or [text]


def build(folder: Path, *architectures: str) -> None:
    """Build a package with a service as .deb and .rpm, for each architecture by Debian's name."""
    folder.mkdir()
    for name in architectures:
        debs.build(
            folder,
            "hello-web",
            architecture=name,
            files={"/usr/lib/systemd/system/hello-web.service": UNIT},
            scripts={"postinst": START},
        )
        rpms.build(
            folder,
            "hello-web",
            architecture={"amd64": "x86_64", "arm64": "aarch64"}[name],
            files={"/usr/lib/systemd/system/hello-web.service": UNIT},
        )
    for path in folder.glob("trees"):
        path.rename(folder.with_name("trees"))


def test_packager_of_a_company(image: str, tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    build(tmp_path / "dist", "amd64", "arm64")
    (tmp_path / "dist/checksums.txt").write_text("0 hello-web\n")
    help_text = shell.types("postroj", 2)
    assert "postroj test dist/*" in help_text
    assert "did you mean `postroj list-images`" in shell.types("postroj list", 2)
    shown = shell.types("postroj test dist/* -i debian-trixie")
    assert "left out, not a package: checksums.txt" in shown
    assert "left out, for aarch64: hello-web-1.0-1.aarch64.rpm, hello-web_1.0_arm64.deb" in shown
    assert "left out, no image given installs .rpm: hello-web-1.0-1.x86_64.rpm" in shown
    assert "PASS  1 service up" in shown
    shell.types("postroj init dist/*_amd64.deb -i debian-trixie")
    contract = (tmp_path / "postroj.toml").read_text()
    assert 'unit = "hello-web.service,enabled,running"' in contract
    for path in (tmp_path / "dist").glob("*_amd64.deb"):
        path.unlink()
    debs.build(
        tmp_path / "dist",
        "hello-web",
        version="1.1",
        architecture="amd64",
        files={"/usr/lib/systemd/system/hello-web.service": UNIT},
    )
    shown = shell.types("postroj test --report html=report.html --report json=1.json", 1)
    assert "from 'postroj.toml': package, image" in shown
    assert "FAIL  the package is to blame" in shown
    page = (tmp_path / "report.html").read_text()
    assert "hello-web.service,enabled" in page
    assert "debian-trixie" in shell.types("postroj report 1.json")


def test_debian_developer(image: str, tmp_path: Path) -> None:
    shell = Shell(tmp_path / "hello-web")
    shell.folder.mkdir()
    made = debs.build(
        tmp_path,
        "hello-web",
        files={"/usr/lib/systemd/system/hello-web.service": UNIT},
        scripts={"postinst": START},
    )
    (tmp_path / "hello-web_1.0_amd64.changes").write_text(
        f"Format: 1.8\nSource: hello-web\nFiles:\n"
        f" {'0' * 32} {made.stat().st_size} misc optional {made.name}\n"
    )
    shown = shell.types(
        "postroj test ../hello-web_1.0_amd64.changes -i debian-13 --steps install,remove", 1
    )
    # its removal does not stop the service
    assert re.search(r"fail .*hello-web.service +still active", shown)
    assert "FAIL  the package is to blame" in shown
    assert "'instal' is not a step" in shell.types("postroj test .. --steps instal", 2)


def test_packager_of_fedora(tmp_path: Path) -> None:
    """Whose images no mirror in reach has."""
    shell = Shell(tmp_path)
    results = tmp_path / "results"
    results.mkdir()
    rpms.build(results, "hello-web")
    for name in ("build.log", "root.log"):
        (results / name).write_text("made\n")
    jobs = json.loads(shell.types("postroj matrix -p results/ --default-images --format github"))
    assert [job["images"] for job in jobs["include"]] != []
    assert all(job["images"].startswith(("fedora", "opensuse")) for job in jobs["include"])
    shown = shell.types(f"postroj test results/ -i {DEFAULT_IMAGE}", 3)
    assert "left out, no image given installs .rpm: hello-web-1.0-1.noarch.rpm" in shown


@pytest.fixture(scope="module")
def box(image: str) -> Iterator[Sshd]:
    """A machine with Linux, which they reach by ssh."""
    with tempfile.TemporaryDirectory(prefix="f-") as folder, Sshd(Path(folder)) as running:
        yield running


@pytest.mark.parametrize(("system", "way"), [("darwin", "limactl"), ("windows", "by ssh")])
def test_user_without_linux(box: Sshd, tmp_path: Path, system: str, way: str) -> None:
    env = {**box.environment, "ELSEWHERE": system, "PYTHONPATH": str(ELSEWHERE)}
    shell = Shell(tmp_path, env)
    (tmp_path / "dist").mkdir()
    debs.build(tmp_path / "dist", "hello", files={"/usr/share/hello": "world"})
    assert "postroj test dist/*" in shell.types("postroj --help")
    assert "debian-trixie" in shell.types("postroj list-images trixie --arch amd64")
    shown = shell.types("postroj test dist/*", 4)
    assert "guests are containers of Linux" in shown
    assert "`postroj --host [USER@]HOST" in shown
    assert way in shown
    shown = shell.types(f"postroj --host box test dist/* -i {DEFAULT_IMAGE} --report report.html")
    assert "PASS" in shown
    assert "hello" in (tmp_path / "report.html").read_text()
    assert "debian-trixie" in shell.types("postroj matrix -i debian-trixie --arch amd64")
