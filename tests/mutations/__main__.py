"""Break promises of postroj one at a time, and see that the tests notice.

    python -m tests.mutations [WORD...]

Each mutation of `table.py` whose promise contains a word (all of them without one) is made in a
copy of the tree, in which its tests must then fail. The exit status is 1 if a mutation survived.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.mutations.table import MUTATIONS, Mutation

ROOT = Path(__file__).parents[2]
FOLDERS = ("postroj", "tests", "benchmarks", "docs", ".github", ".ci")
FILES = ("pyproject.toml", "README.rst", "CHANGES.rst", "Makefile", "action.yml")
TESTS_FAILED = 1
"""Exit status of pytest; 2 to 5 mean that no test has judged the mutation."""


def copy_tree(folder: Path) -> None:
    """Copy what tests need of the tree."""
    for name in FOLDERS:
        ignored = shutil.ignore_patterns("__pycache__", "_build")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for name in FILES:
        shutil.copy(ROOT / name, folder)


def run_tests(tests: str, *mutations: Mutation) -> tuple[int, str]:
    """Run tests on a copy of the tree with mutations; return pytest's exit status and output."""
    with TemporaryDirectory(prefix="mutation-") as name:
        folder = Path(name) / "tree"
        folder.mkdir()
        copy_tree(folder)
        for mutation in mutations:
            mutation.apply(folder)
        env = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
        # a broken tree may lack the plugin
        without = ("-p", "no:cacheprovider", "-p", "no:postroj")
        options = ["-qx", *without, f"--basetemp={name}/tests"]
        argv = [sys.executable, "-m", "pytest", *options, *tests.split()]
        done = subprocess.run(
            argv, cwd=folder, env=env, capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout + done.stderr


def fate(mutation: Mutation) -> str:
    """Return how a mutation survived; '' if its tests failed."""
    status, output = run_tests(mutation.tests, mutation)
    if status == TESTS_FAILED:
        return ""
    return "no test failed" if status == 0 else f"pytest ended with status {status}\n{output}"


def main(words: list[str]) -> int:
    """Try mutations; return the exit status."""
    chosen = [m for m in MUTATIONS if not words or any(word in m.promise for word in words)]
    tests = " ".join(dict.fromkeys(test for m in chosen for test in m.tests.split()))
    status, output = run_tests(tests)
    if status:  # else a failure would say nothing about a mutation
        print(output)
        return status
    survived = 0
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for mutation, how in zip(chosen, pool.map(fate, chosen), strict=True):
            print(
                f"{'survived' if how else 'killed':<9} {mutation.promise} ({mutation.file})",
                flush=True,
            )
            if how:
                survived += 1
                print(how)
    print(f"{survived} of {len(chosen)} mutations survived")
    return int(bool(survived))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
