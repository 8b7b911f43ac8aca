"""`postroj --host`: which files a command line names, and what needs no other machine."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from postroj import __version__
from postroj.cli import cli
from postroj.cli.host_paths import HostPath, OtherPath
from postroj.cli.sending import freight_of, read_words
from postroj.errors import UsageError
from postroj.remote.freight import Kind
from tests.support.cli import postroj
from tests.support.sshd import stand_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from postroj.remote.freight import Freight

PATHLIKE = re.compile(r"FILE|PATH|DIR|FOLDER|SOURCE|TARGET", re.IGNORECASE)


@pytest.fixture(autouse=True)
def dist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what a build leaves, which is the working directory."""
    for name in ("POSTROJ_HOST", "POSTROJ_LOCK", "POSTROJ_CATALOG", "GITHUB_STEP_SUMMARY"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "home"
    (folder / "dist").mkdir(parents=True)
    for name in ("a.deb", "b.rpm", "notes.txt"):
        (folder / "dist" / name).write_text(name)
    monkeypatch.chdir(folder)
    return folder


def walk(command: click.Command, *above: str) -> Iterator[tuple[str, click.Parameter]]:
    """Yield all parameters of a command and of those below it."""
    for param in command.params:
        yield " ".join((*above, str(param.name))), param
    if isinstance(command, click.Group):
        ctx = click.Context(command)
        for name in command.list_commands(ctx):
            inner = command.get_command(ctx, name)
            assert inner
            yield from walk(inner, *above, name)


def load(*words: str) -> Freight:
    """Return what goes with a command line."""
    ctx = click.Context(cli)
    _, command, rest = cli.resolve_command(ctx, list(words))
    assert command
    own = click.Context(command, parent=ctx, **command.context_settings)
    typed = read_words(command, own, rest)
    assert typed is not None
    return freight_of(command, typed)


def sent(freight: Freight) -> list[str]:
    """Return the paths of files that go, seen from the working directory."""
    paths = [*(path for path in freight.files.values() if path), *freight.trees.values()]
    return sorted(os.path.relpath(path) for path in paths)


def back(freight: Freight) -> list[tuple[str, Kind]]:
    """Return the paths that are expected back."""
    return [(os.path.relpath(one.path), one.kind) for one in freight.expected]


def test_every_parameter_with_a_path_says_where_the_path_is() -> None:
    found = dict(walk(cli))
    assert len(found) > 200
    unknown = [
        name
        for name, param in found.items()
        if not isinstance(param.type, HostPath | OtherPath | click.Choice)
        and not getattr(param, "is_flag", False)
        and (
            isinstance(param.type, click.Path | click.File)
            or any(map(PATHLIKE.search, (param.metavar or "", *param.opts)))
        )
    ]
    assert unknown == []


def test_packages_go(dist: Path) -> None:
    assert sent(load("pkgprobe", "-p", "dist/a.deb", "-p", "http://x/y.deb")) == ["dist/a.deb"]
    words = ("pkgprobe", "-p", str(dist / "dist/a.deb"), "--upgrade-from", "repo")
    assert sent(load(*words)) == ["dist/a.deb"]
    assert sent(load("pkgprobe", "-p", "dist/*", "--upgrade-from", "dist/b.rpm")) == ["dist/b.rpm"]


def test_test_sends_the_packages_of_patterns_and_folders(dist: Path) -> None:
    assert sent(load("test", "dist/*.deb")) == ["dist/a.deb"]
    assert sent(load("test", "dist")) == ["dist/a.deb", "dist/b.rpm"]
    assert sent(load("test", "dist/notes.txt")) == ["dist/notes.txt"]
    with pytest.raises(UsageError, match="'none/\\*' is not a file or folder, and matches none"):
        load("test", "none/*")


def test_test_sends_what_a_changes_file_lists(dist: Path) -> None:
    (dist / "dist/a.changes").write_text("Files:\n 0 1 misc optional a.deb\n 0 1 misc x a.dsc\n")
    assert sent(load("test", "dist/a.changes")) == ["dist/a.changes", "dist/a.deb"]


def test_put_goes_and_reports_come_back(dist: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "summary")
    freight = load(
        *("pkgprobe", "-p", "dist/a.deb", "--put", "@start:dist/notes.txt:/etc/x"),
        *("--report", "json=-", "--report", "github", "--report", "out.xml"),
        *("--report", "tap=dist/x", "--artifacts", "found", "--check-file", "/etc/passwd"),
    )
    assert sent(freight) == ["dist/a.deb", "dist/notes.txt"]
    assert set(back(freight)) == {
        *(("out.xml", Kind.FILE), ("dist/x", Kind.FILE), ("found", Kind.FOLDER)),
        ("summary", Kind.ADDED),
    }


def test_project_file_goes_with_the_files_that_it_names(dist: Path) -> None:
    (dist / ".git").mkdir()
    (dist / "sub").mkdir()
    (dist / "postroj.toml").write_text(
        'package = "dist/*.deb"\nupgrade-from = ["dist/b.rpm", "repo"]\nput = "conf:/etc/conf"\n'
        'report = ["junit=sub/out.xml", "github"]\ncheck-file = "/etc/passwd"\n'
    )
    (dist / "conf").touch()
    os.chdir(dist / "sub")
    freight = load("test")
    assert sent(freight) == ["../conf", "../dist/a.deb", "../dist/b.rpm", "../postroj.toml"]
    assert back(freight) == [("out.xml", Kind.FILE)]
    assert freight.place(str(dist / ".git")) in freight.folders
    words = ("test", "../dist/b.rpm", "--put", "../dist/notes.txt:/x", "--upgrade-from", "repo")
    assert sent(load(*words)) == ["../dist/b.rpm", "../dist/notes.txt", "../postroj.toml"]
    assert sent(load("test", "--no-project", "../dist/b.rpm")) == ["../dist/b.rpm"]


def test_project_file_that_is_named_and_its_tables(dist: Path) -> None:
    (dist / "sub").mkdir()
    (dist / "sub/my.toml").write_text('[[package]]\nfile = "../dist/a.deb"\n')
    (dist / "aside").symlink_to("sub")
    freight = load("test", "--project", "aside/my.toml")
    assert {freight.place("aside/my.toml"), freight.place("dist/a.deb")} <= set(freight.files)


def test_lock_file_and_catalog_go_and_only_lock_changes_one(
    dist: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (dist / "postroj.lock").touch()
    freight = load("ps")
    assert (sent(freight), back(freight)) == (["postroj.lock"], [])
    assert back(load("lock")) == [("postroj.lock", Kind.FILE)]
    assert back(load("lock", "--file", "dist/x")) == [("dist/x", Kind.FILE)]
    monkeypatch.setenv("POSTROJ_LOCK", "dist/a.deb")
    monkeypatch.setenv("POSTROJ_CATALOG", "dist/notes.txt")
    assert sent(load("ps")) == ["dist/a.deb", "dist/notes.txt"]
    assert back(load("lock")) == [("dist/a.deb", Kind.FILE)]
    monkeypatch.setenv("POSTROJ_LOCK", "")
    assert sent(load("ps")) == ["dist/notes.txt"]


def test_cp_import_and_export(dist: Path) -> None:
    assert sent(load("cp", "dist", "web:/srv")) == ["dist"]
    freight = load("cp", "web:/srv", "dist")
    assert (sent(freight), back(freight)) == ([], [("dist", Kind.COPY)])
    freight = load("cp", "web:/srv", "-")
    assert (sent(freight), back(freight)) == ([], [])
    assert sent(load("import", "mine", "dist")) == ["dist"]
    assert sent(load("import", "mine", "docker://dist")) == []
    assert back(load("export", "debian-sid", "sid.tar")) == [("sid.tar", Kind.FILE)]
    assert back(load("export", "debian-sid", "-")) == []


def test_words_of_a_command_for_the_guest_are_no_files(dist: Path) -> None:
    freight = load("run", "-e", "PATH", "-e", "A=b", "debian-sid", "cat", "dist/a.deb", "-p", "x")
    assert (sent(freight), back(freight)) == ([], [])
    assert freight.variables == {"PATH": os.environ["PATH"]}


def test_bind_is_of_the_other_machine() -> None:
    assert sent(load("run", "--bind", "/srv:/srv", "true")) == []
    with pytest.raises(UsageError, match="'dist:/srv' is mounted from the other machine"):
        load("run", "--bind-ro", "dist:/srv", "true")


def test_usage_errors_have_the_status_of_the_command_and_need_no_machine() -> None:
    for command, status in (("ps", 2), ("run", 125)):
        done = postroj("--host", "nowhere.invalid", command, "--bogus")
        assert (done.returncode, done.stdout) == (status, "")
        assert done.stderr.startswith("error: no such option")
    done = postroj("--host", "-oProxyCommand=touch x", "ps")
    assert done.returncode == 2
    assert "error: '-oProxyCommand=touch x' cannot be a machine that ssh connects to" in done.stderr
    assert not Path("x").exists()


def test_help_and_matrix_stay_on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTROJ_HOST", "nowhere.invalid")
    for words in (["ps", "--help"], ["pkgprobe", "--project-schema"], ["catalog", "check", "-h"]):
        assert postroj(*words).returncode == 0
    assert '"debian-sid"' in postroj("matrix", "-i", "debian-sid").stdout


def test_empty_host_overrides_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSTROJ_HOST", "nowhere.invalid")
    assert postroj("list-images", "debian-sid", "--host", "").returncode == 2
    assert "debian-sid" in postroj("--host", "", "list-images", "debian-sid").stdout


def test_host_from_the_environment_carries_files_both_ways(
    tmp_path: Path, dist: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = tmp_path / "t"
    folders.mkdir()
    env = stand_in(tmp_path) | {"POSTROJ_HOST": "box", "TMPDIR": str(folders)}
    done = postroj("lock", "--file", dist / "dist/new.lock", env=env)
    assert (done.returncode, done.stderr) == (0, "")
    assert (dist / "dist/new.lock").is_file()
    done = postroj("lock", "--file", dist / "no/new.lock", env=env)
    assert done.returncode == 2
    assert f"'{dist}/no/new.lock'" in done.stderr
    assert "postroj-host-" not in done.stderr
    assert list(folders.iterdir()) == []


def test_host_without_postroj(tmp_path: Path) -> None:
    env = stand_in(tmp_path, "env", "PATH=/usr/bin:/bin", "HOME=/nonexistent")
    done = postroj("--host", "ssh://me@box:2222", "ps", env=env)
    assert done.returncode == 4
    error, _, hint = done.stderr.splitlines()
    assert error == "error: 'me@box' has no postroj"
    assert f"`ssh -p 2222 me@box pipx install --force postroj=={__version__}`" in hint
