"""Compare guests of a user without root with those of root: a boot, and the whole cycle.

    sudo .venv/bin/python benchmarks/users.py [--runs N] [--json] [NAME...]

See `pairs` for the output. Both are run by the Python of the distribution.
"""

from __future__ import annotations

import os
import subprocess
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from pairs import Pair, main, measure

from postroj.image import pull
from postroj.image.catalog import catalog
from tests.support import unprivileged
from tests.support.unprivileged import PYTHON

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pairs import Measured

IMAGE = "debian-bookworm"
CYCLE = ("-m", "postroj", "--quiet", "run", "--image", IMAGE, "--", "true")

SERVE = """
import sys
from postroj.container.spec import GuestSpec
from postroj.container.start import become_root, start_guest
from postroj.prepare import obtain
become_root()
with obtain(sys.argv[1]) as image:
    for _ in sys.stdin:
        with start_guest(GuestSpec(layers=image.layers)):
            print("ready", flush=True)
            sys.stdin.readline()
        print("gone", flush=True)
"""
"""Boots a guest for each line that it reads, and ends it at the next."""


@contextmanager
def both() -> Iterator[tuple[Callable[..., list[str]], Callable[..., list[str]]]]:
    """Yield how to run Python as a user and as root, both with what the tests put before it."""
    with unprivileged.user() as user:
        user.take(IMAGE)
        root = replace(user, name="root")
        yield partial(user.argv, PYTHON), partial(root.argv, PYTHON)


class Server:
    """A process that boots guests when it is told."""

    def __init__(self, argv: Sequence[str]) -> None:
        self.child = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def say(self, expected: str) -> None:
        """Send a line, and wait for the answer."""
        assert self.child.stdin and self.child.stdout
        print(file=self.child.stdin, flush=True)
        if self.child.stdout.readline() != f"{expected}\n":
            raise RuntimeError(self.child.args)

    def close(self) -> None:
        """End it."""
        self.child.communicate()


def boot(runs: int) -> Measured:
    """Measure a boot until the guest is ready."""
    with both() as ways, ExitStack() as stack:
        user, root = (Server(way("-c", SERVE, IMAGE)) for way in ways)
        stack.callback(user.close)
        stack.callback(root.close)
        pair = Pair(
            name="boot",
            ours="a guest of a user, from nothing to ready, in a process that runs",
            limit="a guest of root",
            target=1.3,
            runs=runs,
        )
        servers = {"user": user, "root": root}
        up: list[Server] = []

        def begin(name: str) -> None:
            servers[name].say("ready")
            up.append(servers[name])

        def end() -> None:
            while up:
                up.pop().say("gone")

        return measure(pair, partial(begin, "user"), partial(begin, "root"), after=end)


def cycle(runs: int) -> Measured:
    """Measure `postroj run -- true`."""
    with both() as (user, root):
        pair = Pair(
            name="cycle",
            ours="postroj run -- true, as a user",
            limit="postroj run -- true, as root",
            target=1.0,
            runs=runs,
        )

        def run(argv: Sequence[str]) -> None:
            subprocess.run(argv, check=True, capture_output=True, cwd="/")

        return measure(pair, partial(run, user(*CYCLE)), partial(run, root(*CYCLE)))


BENCHMARKS: dict[str, tuple[Callable[[int], Measured], int]] = {
    "boot": (boot, 20),
    "cycle": (cycle, 20),
}

if __name__ == "__main__":
    assert os.geteuid() == 0, "it makes a user"
    pull.pull(catalog.find(IMAGE))
    main(__doc__, BENCHMARKS)
