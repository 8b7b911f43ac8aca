"""What a release consists of agrees with itself: versions, addresses, dependencies, pages."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from postroj import DOCUMENTATION, REPOSITORY, __version__
from postroj.cli import COMMANDS
from postroj.doctor.requirements import REQUIREMENTS

ROOT = Path(__file__).parents[2]
CONTROL = ROOT / "debian/control"
SPEC = ROOT / "packages/postroj.spec"
PKGBUILD = ROOT / "packages/PKGBUILD"
TELL = ("postroj/__init__.py", "CHANGES.rst", "debian/changelog", "packages")

PRINT = """
import sys
from pathlib import Path
sys.path[:0] = [".", "packages"]
import share
for path, text in share.files().items():
    target = Path(sys.argv[1], path)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)
"""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that a wheel has beside its modules."""
    folder = tmp_path_factory.mktemp("shared")
    subprocess.run([sys.executable, "-c", PRINT, str(folder)], cwd=ROOT, check=True)
    return folder / "share"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of all files that tell the version."""
    for name in (*TELL, ".github/tagged.sh"):
        source, target = ROOT / name, tmp_path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if source.is_dir() else shutil.copy)(source, target)
    changes = tmp_path / "CHANGES.rst"
    changes.write_text(changes.read_text().replace("(unreleased)", "(2026-12-24)"))
    changelog = tmp_path / "debian/changelog"
    changelog.write_text(changelog.read_text().replace("UNRELEASED", "unstable"))
    return tmp_path


def tagged(folder: Path, tag: str) -> str:
    """Return what the script says that a release begins with; '' if it agrees."""
    done = subprocess.run(
        [folder / ".github/tagged.sh", tag], capture_output=True, text=True, check=False
    )
    assert (done.returncode == 0) == (not done.stderr)
    return done.stderr


def test_tag_of_a_release_agrees_with_all_files(copy: Path) -> None:
    assert tagged(copy, f"v{__version__}") == ""


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("postroj/__init__.py", f'"{__version__}"', '"0.0.9"'),
        ("CHANGES.rst", "(2026-12-24)", "(unreleased)"),
        ("packages/postroj.spec", f"Version:        {__version__}", "Version: 0.0.9"),
        ("packages/PKGBUILD", f"pkgver={__version__}", "pkgver=0.0.9"),
        ("debian/changelog", "unstable;", "UNRELEASED;"),
    ],
)
def test_tag_is_refused_if_a_file_tells_something_else(
    copy: Path, name: str, old: str, new: str
) -> None:
    path = copy / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    assert f"error: {name} has no line" in tagged(copy, f"v{__version__}")


def test_tag_of_another_version_is_refused(copy: Path) -> None:
    assert "error: postroj/__init__.py has no line" in tagged(copy, "v9.9")


def test_own_addresses_are_those_of_the_constants() -> None:
    tracked = [
        *ROOT.glob("*.*"),
        *(
            path
            for folder in ("debian", "docs", "packages", ".github")
            for path in (ROOT / folder).rglob("*")
            if "_build" not in path.parts
        ),
    ]
    found = {
        address
        for path in tracked
        if path.is_file() and path.suffix not in (".svg", ".pyc")
        for address in re.findall(r"https://[\w./-]*postroj[\w./-]*", path.read_text("utf-8"))
    }
    assert {DOCUMENTATION, REPOSITORY} <= found
    own = (DOCUMENTATION, REPOSITORY)
    assert [address for address in found if not address.startswith(own)] == []


def fields(name: str) -> set[str]:
    """Return the packages that a field of the .deb names."""
    text = CONTROL.read_text().split("\nPackage: ")[1]
    [value] = re.findall(rf"^{name}:\n((?: .*\n)+)", text, re.MULTILINE)
    return set(re.findall(r"^ ([\w.+-]+)", value, re.MULTILINE))


ESSENTIAL = {"apt": {"tar", "util-linux", "gzip"}}
"""What is always installed, and no package names."""


def test_deb_needs_what_the_doctor_asks_for() -> None:
    needed, better = fields("Depends"), fields("Recommends")
    assert not needed & better
    asked = {
        requirement.packages["apt"]: requirement
        for requirement in REQUIREMENTS
        if "apt" in requirement.packages
    }
    large = fields("Suggests") & set(asked)
    assert large == {"qemu-system-x86"}
    assert needed | better | large == set(asked) - ESSENTIAL["apt"]
    assert {name for name, one in asked.items() if not one.only_for} - ESSENTIAL["apt"] <= needed


@pytest.mark.parametrize("manager", ["dnf", "zypper"])
def test_rpm_names_what_the_doctor_asks_for(manager: str) -> None:
    field = re.compile(r"^(?:Requires|Recommends|Suggests): +(.*)", re.MULTILINE)
    named = set(re.findall(r"[\w.+-]+", " ".join(field.findall(SPEC.read_text()))))
    asked = {one.packages[manager] for one in REQUIREMENTS if manager in one.packages}
    assert asked - {"tar", "gzip", "shadow", "shadow-utils"} <= named


def test_package_of_arch_names_what_the_doctor_asks_for() -> None:
    text = PKGBUILD.read_text()
    named = set(re.findall(r"^  '?([\w.+-]+)", text, re.MULTILINE))
    asked = {one.packages["pacman"] for one in REQUIREMENTS if "pacman" in one.packages}
    assert asked - {"tar", "gzip", "shadow"} <= named


def test_manual_pages_are_clean_and_complete(shared: Path) -> None:
    pages = sorted((shared / "man/man1").iterdir())
    names = {page.name for page in pages}
    assert {f"postroj-{command}.1" for command in COMMANDS} <= names
    assert {"postroj.1", "postroj-catalog-check.1", "autopkgtest-virt-postroj.1"} <= names
    for name in ("postroj", "postroj-report", "postroj-test"):
        assert ".SH EXAMPLES\n" in (shared / "man/man1" / f"{name}.1").read_text()
    done = subprocess.run(
        ["mandoc", "-T", "lint", "-W", "warning", *pages],
        capture_output=True,
        text=True,
        check=False,
    )
    # docutils writes both; a page without a date is the same whenever it is made
    harmless = ("missing date", "skipping paragraph macro: sp after SH")
    lines = [line for line in done.stdout.splitlines() if not any(map(line.count, harmless))]
    assert lines == []


def test_manual_page_tells_what_help_tells(shared: Path) -> None:
    done = subprocess.run(
        ["mandoc", "-T", "utf8", "-O", "width=100", shared / "man/man1/postroj-test.1"],
        capture_output=True,
        text=True,
        check=True,
    )
    text = re.sub(".\b", "", done.stdout)
    for words in (
        "postroj-test - Probe packages, each for itself, on the images that can install them",
        "postroj test [OPTIONS] [FILE]...",
        "PACKAGES AND IMAGES",
        "-i, --image NAME",
        "EXAMPLES",
        "postroj test dist/*",
        "postroj(1), https://",
    ):
        assert words in text, text


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_of_each_shell_is_in_the_wheel(shared: Path, shell: str) -> None:
    [path] = [
        path
        for path in shared.rglob("*postroj*")
        if path.is_file() and shell in str(path.relative_to(shared))
    ]
    assert f"_POSTROJ_COMPLETE={shell}_complete" in path.read_text()
