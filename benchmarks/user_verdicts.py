"""Probe package files as root and as a user without root, and print where the results differ.

    sudo .venv/bin/python benchmarks/user_verdicts.py [--jobs N] FILE...

Each goes through all steps. The status is 1 if a check has another outcome for the user.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from users import IMAGE

from tests.support import unprivileged
from tests.support.unprivileged import PYTHON

if TYPE_CHECKING:
    from tests.support.unprivileged import User

WORDS = ("-m", "postroj", "--quiet", "pkgprobe", "--no-project", "--image", IMAGE, "--steps=all")

Outcomes = dict[tuple[str, str], str]
"""What came of each check of a probe: step and subject to outcome and reason."""


def probed(argv: list[str]) -> tuple[str, Outcomes]:
    """Run a probe; return its verdict, and the outcome of each step and check."""
    done = subprocess.run(argv, check=False, capture_output=True, text=True, cwd="/")
    try:
        (probe,) = json.loads(done.stdout)["probes"]
    except (ValueError, KeyError):
        message = f"{argv}:\n{done.stdout}{done.stderr}"
        raise SystemExit(message) from None
    found: Outcomes = {}
    for step in probe["steps"]:
        found[step["name"], ""] = said(step)
        found |= {(step["name"], check["subject"]): said(check) for check in step["checks"]}
    return probe["outcome"], found


def said(one: dict[str, Any]) -> str:
    """Return the outcome of a step or check, and its reason."""
    return f"{one['outcome']}: {one['reason'].partition(os.linesep)[0]}"


def compare(user: User, file: Path) -> bool:
    """Probe a file as both; print and return whether all outcomes are the same."""
    theirs = user.home / file.name
    shutil.copyfile(file, theirs)
    unprivileged.own(theirs, user.name)
    words = (PYTHON, *WORDS, "--json", "--package", theirs)
    root, other = probed(replace(user, name="root").argv(*words)), probed(user.argv(*words))
    lines = [f"{file.name}: {root[0]} as root, {other[0]} as a user"]
    for key in root[1] | other[1]:
        pair = [found.get(key, "not asked") for _, found in (root, other)]
        if len({text.partition(":")[0] for text in pair}) > 1:
            lines.append(f"    {' '.join(key)}\n        root  {pair[0]}\n        user  {pair[1]}")
    print("\n".join(lines), flush=True)
    return len(lines) == 1


def main() -> None:
    """Read the command line, and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1, help="how many packages at once")
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE")
    options = parser.parse_args()
    with unprivileged.user() as user, ThreadPoolExecutor(options.jobs) as pool:
        user.take(IMAGE)
        same = list(pool.map(partial(compare, user), map(Path.resolve, options.files)))
    print(f"{sum(same)} of {len(same)} packages have the same results")
    raise SystemExit(sum(same) < len(same))


if __name__ == "__main__":
    assert os.geteuid() == 0, "it makes a user"
    main()
