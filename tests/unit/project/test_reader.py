"""The file of a project: what is read, and how every mistake is told."""

from __future__ import annotations

import os
from datetime import date
from pathlib import Path

import pytest

from postroj.errors import UsageError
from postroj.project import project_file
from postroj.project.reader import Project, read
from postroj.verdict import CheckKind, Outcome, StepName

TODAY = date(2026, 11, 21)

WHOLE = """\
# what is probed
package = ["dist/*.deb", "https://mirror.example/y.rpm"]
image = "debian-*"
steps = [
    "install",
    "reboot",
]
settle = 0
timeout = 1.5
discover = false
report = ["json=out/report.json", "github"]
upgrade-from = "repo"

[[expect]]
image = ["debian-sid", "debian-1?"]
outcome = "fail"
reason = "bug 7"
until = 2026-11-21
step = "reboot"
check = "x.service"

[[expect]]
image = "debian-sid"
outcome = "skip"
reason = '''too
new'''
until = 2026-11-20
"""
PACKAGES = """\
[[package]]
file = "a.deb"
[[package]]
file = ["b*.deb", "https://mirror.example/c.deb"]
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("POSTROJ_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path


def written(text: str, name: str = "postroj.toml") -> Project:
    Path(name).write_text(text)
    return read(project_file.named(Path(name)), TODAY)


def error_of(text: str, name: str = "postroj.toml") -> UsageError:
    with pytest.raises(UsageError) as caught:
        written(text, name)
    return caught.value


def test_read_of_every_key(folder: Path) -> None:
    project = written(WHOLE)
    assert project.values == {
        "package": ("dist/*.deb", "https://mirror.example/y.rpm"),
        "image": ("debian-*",),
        "steps": ("install", "reboot"),
        "settle": 0,
        "timeout": 1.5,
        "discover": False,
        "report": ("json=out/report.json", "github"),
        "upgrade-from": ("repo",),
    }
    known, old = project.expectations
    assert {"debian-sid", "debian-trixie", "debian-bullseye"} <= known.images
    assert "ubuntu-noble" not in known.images
    assert (known.outcome, known.step, known.checks) == (
        Outcome.FAIL,
        StepName.REBOOT,
        ("x.service",),
    )
    assert (known.until, known.expired) == (TODAY, False)
    assert (old.images, old.outcome, old.expired, old.reason) == (
        frozenset({"debian-sid"}),
        Outcome.SKIP,
        True,
        "too new",
    )


def test_read_of_the_table_in_pyproject(folder: Path) -> None:
    inner = WHOLE.replace("[[expect]]", "[[tool.postroj.expect]]")
    text = f"[project]\nname = 'x'\n[tool.postroj]\n{inner}\n[tool.ruff]\n"
    assert written(text, "pyproject.toml").values == written(WHOLE).values
    bad = text.replace('"skip"', '"slip"')
    assert error_of(bad, "pyproject.toml").message == (
        "pyproject.toml:27: `expect.outcome`: takes 'fail' or 'skip', not 'slip'"
    )


EXPECT = '[[expect]]\nimage = "debian-sid"\noutcome = "fail"\nreason = "x"\nuntil = 2027-01-01\n'


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ('a = """\nb\n"""\n\npackage = 1', 1, "`a`: unknown key"),
        ("package = 1", 1, "`package`: takes a string, or a list of strings, not a whole number"),
        ("\n\npackage = []", 3, "`package`: is empty"),
        ("package = [\n'a',\n1]", 1, "`package`: takes a string, or a list of strings, not a list"),
        ("package = ''", 1, "`package`: is empty"),
        ("package = 'a\\u0000'".replace("'", '"'), 1, "`package`: contains a NUL character"),
        ("settle = '3'", 1, "`settle`: takes a number, not a string"),
        ("settle = -1", 1, "`settle`: takes a number of 0 or more, not -1"),
        ("timeout = 0", 1, "`timeout`: takes a number above 0, not 0"),
        ("timeout = inf", 1, "`timeout`: takes a number, not inf"),
        ("timeout = nan", 1, "`timeout`: takes a number, not nan"),
        ("jobs = true", 1, "`jobs`: takes a whole number, not true or false"),
        ("jobs = 1.5", 1, "`jobs`: takes a whole number, not a number"),
        ("jobs = 0", 1, "`jobs`: takes a whole number of 1 or more, not 0"),
        ("discover = 1", 1, "`discover`: takes true or false, not a whole number"),
        ("discover = 07:32:00", 1, "`discover`: takes true or false, not a time"),
        ("network = 'public'", 1, "`network`: takes 'private' or 'host' or 'none', not 'public'"),
        ("jobs = 1\nsteps = ['install',\n'x']", 2, "`steps`: takes 'all' or 'install' or"),
        ("jobs = 1\n[expect]\n", 2, "`expect`: must be a list of tables"),
        ("expect = [1]", 1, "`expect`: must be a list of tables"),
        ("package = [{file = 'a'}, 'b']", 1, "`package`: must be a list of tables"),
        (PACKAGES + "[[package]]\n", 5, "`package.file`: is missing"),
        (PACKAGES + "fil = 1", 5, "`package.fil`: unknown key"),
        (EXPECT + "[[expect]]\n", 6, "`expect.image`: is missing"),
        (EXPECT + "\n" + EXPECT.replace('reason = "x"', ""), 7, "`expect.reason`: is missing"),
        (EXPECT.replace("2027-01-01", "'x'"), 5, "`expect.until`: takes a date without quotes"),
        (EXPECT.replace("01-01", "01-01T00:00:00"), 5, "`expect.until`: takes a date without"),
        (EXPECT + "untill = 1", 6, "`expect.untill`: unknown key"),
        (EXPECT.replace("-sid", "-std"), 2, "`expect.image`: there is no image 'debian-std'"),
        (EXPECT.replace("-sid", "-x*"), 2, "`expect.image`: no image matches 'debian-x*'"),
        (
            EXPECT.replace("fail", "skip") + "check='x'",
            6,
            '`expect.check`: needs `outcome = "fail"`',
        ),
        ("a = 1\nb = \n", 2, "invalid TOML: Invalid value"),
        ("a = 1\na = 2\n", 2, "invalid TOML: Cannot overwrite a value"),
        ("a = 1\nb = [", 2, "invalid TOML: "),
    ],
)
def test_mistakes_have_file_line_and_key(folder: Path, text: str, line: int, words: str) -> None:
    error = error_of(text)
    assert error.message.startswith(f"postroj.toml:{line}: {words}")
    assert error.exit_status == 2


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("check_unit", "did you mean `check-unit`?"),
        ("packages", "did you mean `package`?"),
        ("expects", "did you mean `expect`?"),
        ("qqq", "known keys: package, image"),
    ],
)
def test_unknown_key_suggests_the_nearest(folder: Path, key: str, hint: str) -> None:
    assert error_of(f"{key} = 1").hint.startswith(hint)


def test_lines_are_counted_as_in_an_editor(folder: Path) -> None:
    text = 'setup = """\n[image]\nimage = 1\n\x0b\n"""\r\n\r\n# image = 2\r\nimage = 3\r\n'
    Path("postroj.toml").write_bytes(text.replace("\x0b", "\u2028").encode())
    with pytest.raises(UsageError, match=r"^postroj.toml:8: `image`"):
        read(project_file.named(Path("postroj.toml")), TODAY)


def test_mistake_in_a_large_file_is_found_fast(folder: Path) -> None:
    text = "".join(f"[tool.x{number}]\na = [\n1,\n]\n" for number in range(1000))
    error = error_of(f"{text}[tool.postroj]\njobs = 0\n", "pyproject.toml")
    assert error.message.startswith("pyproject.toml:4002: `jobs`")


def test_paths_are_relative_to_the_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("b_1.deb", "a_1.deb", "c.rpm", "odd[1].deb"):
        (folder / name).touch()
    (folder / "d.deb").mkdir()
    patterns = ["*.deb", "a_?.deb", str(folder / "c*"), "odd[1].deb", "https://x.example/y*"]
    Path("postroj.toml").write_text(f"package = {patterns}\nreport = 'tap=out.tap'\nsteps = 'all'")
    (folder / "sub").mkdir()
    monkeypatch.chdir("sub")
    project = read(project_file.named(Path("../postroj.toml")), TODAY)
    files = [f"{folder}/{name}" for name in ("a_1.deb", "b_1.deb", "odd[1].deb", "c.rpm")]
    assert project.option("package") == (*files, "https://x.example/y*")
    assert project.option("report") == (f"tap={folder}/out.tap",)
    assert project.option("steps") == "all"


def test_reports_are_relative_to_the_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = written("report = ['a.html', 'out/b.xml', 'tap=c', 'json=-', 'github']")
    monkeypatch.chdir("/")
    assert project.option("report") == (
        *(f"{folder}/a.html", f"{folder}/out/b.xml", f"tap={folder}/c", "json=-", "github"),
    )


def test_tables_of_packages_are_sets_of_files(folder: Path) -> None:
    project = written(PACKAGES)
    assert "package" not in project.values
    with pytest.raises(
        UsageError, match=r"postroj.toml:2: `package.file`: no file matches 'a.deb'"
    ):
        project.package_sets()
    for name in ("a.deb", "b1.deb", "b2.deb"):
        Path(name).touch()
    assert project.package_sets() == (
        (f"{folder}/a.deb",),
        (f"{folder}/b1.deb", f"{folder}/b2.deb", "https://mirror.example/c.deb"),
    )


def test_pattern_without_matches_is_refused(folder: Path) -> None:
    project = written("jobs = 1\nupgrade-from = ['repo', 'dist/*']")
    with pytest.raises(UsageError) as caught:
        project.option("upgrade-from")
    assert caught.value.message == "postroj.toml:2: `upgrade-from`: no file matches 'dist/*'"
    assert caught.value.hint.startswith("build the package first")


def test_find_returns_the_nearest_file(folder: Path) -> None:
    deep = folder / "a" / "b"
    deep.mkdir(parents=True)
    (folder / "postroj.toml").write_text("jobs = 1")
    assert project_file.find(deep) is None  # no checkout: what is above is not ours
    (folder / ".git").touch()
    found = project_file.find(deep)
    assert found
    assert found.path == folder / "postroj.toml"
    (folder / "a" / "pyproject.toml").write_text("[tool.other]\nname = 'postroj'")
    again = project_file.find(deep)
    assert again
    assert again.path == folder / "postroj.toml"
    (folder / "a" / "pyproject.toml").write_text("[tool.postroj]\njobs = 2")
    nearer = project_file.find(deep)
    assert nearer
    assert nearer.path == folder / "a" / "pyproject.toml"
    (folder / "a" / "postroj.toml").write_text("jobs = 3")
    own = project_file.find(deep)
    assert own
    assert own.table == {"jobs": 3}


def test_find_stops_at_the_root_of_the_checkout(folder: Path) -> None:
    (folder / "postroj.toml").write_text("jobs = 1")
    (folder / "a" / ".git").mkdir(parents=True)
    assert project_file.find(folder / "a") is None


def test_find_ignores_broken_pyproject_without_our_table(folder: Path) -> None:
    (folder / "pyproject.toml").write_text("[tool.")
    assert project_file.find(folder) is None


def test_named_file_must_be_readable_and_have_our_table(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"^'nowhere' cannot be read$"):
        project_file.named(Path("nowhere"))
    (folder / "pyproject.toml").write_text("[tool.other]")
    with pytest.raises(UsageError, match=r"^'pyproject.toml' has no table `tool.postroj`$"):
        project_file.named(Path("pyproject.toml"))
    (folder / "x.toml").write_bytes(b"\xff")
    with pytest.raises(UsageError, match=r"^'x.toml' cannot be read$"):
        project_file.named(Path("x.toml"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to others")
def test_find_refuses_files_of_others(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SUDO_UID", raising=False)
    file = folder / "postroj.toml"
    file.write_text("jobs = 1")
    os.chown(file, 12345, 12345)
    os.chown(folder, 12345, 12345)
    with pytest.raises(UsageError, match="belongs to another user") as caught:
        project_file.find(folder)
    assert "`--project postroj.toml`" in caught.value.hint
    assert project_file.named(file)
    monkeypatch.setenv("SUDO_UID", "12345")
    assert project_file.find(folder)


def test_check_tables_are_bound_to_steps_images_and_formats(folder: Path) -> None:
    table, other = written(
        '[[check]]\nunit = "x,idle"\nfile = ["/a", "/b"]\nstep = "reboot"\nformat = "rpm"\n'
        '[[check]]\ncommand = "true"\nimage = "debian-sid"\n'
    ).checks
    assert table.subjects == (
        (CheckKind.UNIT, "x,idle"),
        (CheckKind.FILE, "/a"),
        (CheckKind.FILE, "/b"),
    )
    assert (table.step, table.images, table.formats) == ("reboot", None, ("rpm",))
    assert (table.requirements, table.timeout, table.settle) == ({}, None, None)
    assert (other.step, other.images, other.formats) == ("", frozenset({"debian-sid"}), ())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[[check]]\nstep = "reboot"\n', r"postroj.toml:1: `check`: asks nothing"),
        ('[[check]]\nunit = "x"\nimage = "debian-s*d*x"\n', "postroj.toml:3: `check.image`: "),
        ('[[check]]\nunit = "x"\nformat = "exe"\n', "postroj.toml:3: `check.format`: takes 'deb'"),
        ('[[check]]\nfile = "/x"\nstatus = 404\n', "3: `check.status`: needs `network`$"),
        ('[[check]]\nunit = "x"\nowner = "y"\n', "3: `check.owner`: needs `file` or `process`$"),
        ('[[check]]\nuser = "x"\nsettle = 1\n', "3: `check.settle`: needs `unit`$"),
        ('[[check]]\nfile = "/x"\ntype = "pipe"\n', "3: `check.type`: takes 'file' or 'folder'"),
        ('[[check]]\nfile = "/x"\ntimeout = -1\n', "3: `check.timeout`: takes a number of 0 or"),
        ("check = 1\n", "postroj.toml:1: `check`: must be a list of tables"),
        ("start = 1\n", "`start`: takes true, false, or a list of strings"),
    ],
)
def test_check_tables_and_start_are_refused_with_their_line(
    folder: Path, text: str, words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        written(text)


def test_check_tables_have_requirements_and_times(folder: Path) -> None:
    text = 'owner = "x"\nfile = "/a"\nprocess = "b"\nof = "u"\nlog = "c"\nunit = "d"\n'
    (table,) = written(f"[[check]]\n{text}timeout = 7\nsettle = 0.5\n").checks
    assert table.subjects == (
        (CheckKind.UNIT, "d"),
        (CheckKind.FILE, "/a"),
        (CheckKind.PROCESS, "b"),
        (CheckKind.LOG, "c"),
    )
    assert table.requirements == {"owner": "x", "of": ("u",)}
    assert (table.timeout, table.settle) == (7, 0.5)


def test_put_is_relative_to_the_file_and_start_has_two_options(folder: Path) -> None:
    project = written('put = ["a:/etc/a", "@start:b:/etc/b"]\nstart = true\n')
    here = project.file.path.parent
    assert project.option("put") == (f"{here}/a:/etc/a", f"@start:{here}/b:/etc/b")
    assert project.option_of("start") == "--start"
    named = written('start = "x"\n')
    assert (named.option_of("start"), named.option("start")) == ("--start-unit", ("x",))
