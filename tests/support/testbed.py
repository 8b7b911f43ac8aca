"""`autopkgtest-virt-postroj` as autopkgtest uses it: requests, and commands in its guest."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

RUN_SERVER = ("-c", "from postroj.__main__ import serve_autopkgtest as f; f()")
SERVER = (sys.executable, *RUN_SERVER)


def as_it_is(*argv: str) -> Sequence[str]:
    """Return a command that runs as we do."""
    return argv


class Server:
    """A server that has said `ok`; `wrap` makes a command one of the user who runs it."""

    def __init__(
        self,
        child: subprocess.Popen[str],
        wrap: Callable[..., Sequence[str]],
        env: Mapping[str, str],
    ) -> None:
        self.child, self.wrap, self.env = child, wrap, env
        self.enter: list[str] = []
        assert self.hear() == "ok"

    def hear(self) -> str:
        """Return the next line that it says."""
        assert self.child.stdout
        return self.child.stdout.readline().rstrip("\n")

    def ask(self, *words: object) -> str:
        """Send a request, and return the answer."""
        assert self.child.stdin
        print(*(quote(str(word)) for word in words), file=self.child.stdin, flush=True)
        return self.hear()

    def open(self) -> str:
        """Open the testbed, and return its folder."""
        word, folder = self.ask("open").split()
        assert word == "ok"
        self.find()
        return folder

    def find(self) -> None:
        """Ask how to run a command in the guest."""
        word, argv = self.ask("print-execute-command").split()
        assert word == "ok"
        self.enter = list(map(unquote, unquote(argv).split(",")))

    @property
    def guest(self) -> str:
        """Name of the guest."""
        return self.enter[-1]

    def argv(self, *words: str) -> list[str]:
        """Return the command line that runs a command in the guest."""
        return [*self.wrap(*self.enter, *words)]

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the guest."""
        return subprocess.run(
            self.argv(*words),
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            env=self.env,
        )

    def said(self, *words: str) -> str:
        """Return what a command in the guest prints, without the newline at its end."""
        done = self.run(*words)
        assert done.returncode == 0, done.stderr
        return done.stdout.rstrip("\n")


@contextmanager
def served(
    *options: str,
    wrap: Callable[..., Sequence[str]] = as_it_is,
    python: str = sys.executable,
    env: Mapping[str, str] | None = None,
) -> Iterator[Server]:
    """Run a server during a block; the end of its stdin ends it, if the block has not."""
    env = {**os.environ, **(env or {})}
    child = subprocess.Popen(
        wrap(python, *RUN_SERVER, *options),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=env,
    )
    with child:  # which waits for its end
        yield Server(child, wrap, env)
        assert child.stdin
        child.stdin.close()
