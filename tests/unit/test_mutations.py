"""The mutations of tests/mutations, which run nightly, can still be made."""

from __future__ import annotations

import ast
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from tests.mutations import __main__ as runner
from tests.mutations.table import MUTATIONS, Mutation

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.promise)
def test_a_mutation_changes_one_place_to_what_can_still_be_read(
    mutation: Mutation, tmp_path: Path
) -> None:
    file = tmp_path / mutation.file
    file.parent.mkdir(parents=True)
    before = (ROOT / mutation.file).read_text("utf-8")
    file.write_text(before, "utf-8")
    mutation.apply(tmp_path)
    after = file.read_text("utf-8")
    assert after != before
    if file.suffix == ".py":
        ast.parse(after)
    else:
        subprocess.run(["sh", "-n", file], check=True)
    assert [test for test in mutation.tests.split() if not (ROOT / test).exists()] == []


def test_no_promise_is_broken_twice() -> None:
    assert [
        name for name, count in Counter(m.promise for m in MUTATIONS).items() if count > 1
    ] == []


SUITE = """
from pathlib import Path
import postroj
assert Path(postroj.__file__).is_relative_to(Path.cwd()), postroj.__file__
def test(): assert postroj.answer == 42
"""


@pytest.mark.parametrize(
    ("new", "how"),
    [("answer = 7", ""), ("answer = 40 + 2", "no test failed"), ("answer =", "status 2")],
)
def test_a_mutation_is_killed_only_by_a_test_that_fails(
    new: str, how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in (("postroj/__init__.py", "answer = 42\n"), ("tests/test_x.py", SUITE)):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(runner, "ROOT", tmp_path)
    monkeypatch.setattr(runner, "FOLDERS", ("postroj", "tests"))
    monkeypatch.setattr(runner, "FILES", ())
    mutation = Mutation("x", "postroj/__init__.py", "answer = 42", new, "tests")
    found = runner.fate(mutation)
    assert how in found and bool(found) == bool(how)
