"""What is made from the commands, and installed below `/usr/share`."""

from __future__ import annotations

import os

import man
from click.shell_completion import get_completion_class

from postroj.cli import autopkgtest, cli

COMPLETION = {
    "bash": "share/bash-completion/completions/postroj",
    "zsh": "share/zsh/site-functions/_postroj",
    "fish": "share/fish/vendor_completions.d/postroj.fish",
}
"""Where a shell looks for the completion of a program, below the prefix of the installation."""


def files() -> dict[str, str]:
    """Return the texts of manual pages and completion by their places below the prefix."""
    # the same source makes the same pages: https://reproducible-builds.org/specs/source-date-epoch/
    seconds = int(os.environ.get("SOURCE_DATE_EPOCH", "0"))
    pages = man.pages(cli, "postroj", seconds)
    pages |= man.pages(autopkgtest.serve, autopkgtest.PROGRAM, seconds)
    scripts = {path: _completion(shell) for shell, path in COMPLETION.items()}
    return {f"share/man/man1/{name}.1": text for name, text in pages.items()} | scripts


def _completion(shell: str) -> str:
    found = get_completion_class(shell)
    assert found, shell
    return found(cli, {}, "postroj", "_POSTROJ_COMPLETE").source()
