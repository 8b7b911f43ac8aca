"""Many short lives of postroj: processes of their own, without the time that Python takes to start.

As a program it forks for every line that it reads, and the child becomes `postroj WORDS...`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Self, cast

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

USED = (
    *("cli.commands.pull", "cli.commands.prune", "cli.commands.remove", "cli.commands.verify"),
    *("image.upkeep", "image.sources.tarball", "net", "console"),
)


class Nursery:
    """Where they come from; `urls` are the archives of the images that their catalog has."""

    def __init__(self, urls: Mapping[str, str], log: Path) -> None:
        self.urls = urls
        self.log = log

    def __enter__(self) -> Self:
        argv = [sys.executable, "-m", __name__, json.dumps(self.urls), str(self.log)]
        self.process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, process_group=0
        )
        return self

    def __exit__(self, *exc_info: object) -> None:
        with self.process:
            assert self.process.stdin
            self.process.stdin.close()

    def run(self, *words: str, kill_after: float | None = None) -> int:
        """Let one live, for so many seconds at most; its status, -9 if it was killed."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(f"{json.dumps(words)}\n")
        self.process.stdin.flush()
        pid = int(self.process.stdout.readline())
        if kill_after is not None:
            time.sleep(kill_after)
            os.killpg(pid, signal.SIGKILL)
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())


def live(words: list[str], log: str) -> None:
    """Be postroj."""
    os.setpgid(0, 0)
    stdin = os.open(os.devnull, os.O_RDONLY)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for number, descriptor in enumerate((stdin, output, output)):
        os.dup2(descriptor, number)
    sys.argv = ["postroj", *words]
    from postroj.cli import main

    main()


def serve(urls: Mapping[str, str], log: str) -> None:
    from postroj import prepare
    from postroj.image.catalog import catalog
    from postroj.image.catalog.entry import Tarball
    from tests.support.images import entry

    for name in USED:
        import_module(f"postroj.{name}")
    entries = tuple(entry(name, Tarball(url=url)) for name, url in urls.items())
    catalog.entries = cast("object", lambda: entries)  # type: ignore[assignment]
    prepare.possible = lambda: False  # as without root: there is nothing in these images to boot
    while line := sys.stdin.readline():
        pid = os.fork()
        if pid == 0:
            live(json.loads(line), log)
        with suppress(PermissionError, ProcessLookupError):  # it was faster
            os.setpgid(pid, pid)
        print(pid, flush=True)
        sys.stdin.readline()  # not reaped before: its number is not to be another's
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    serve(json.loads(sys.argv[1]), sys.argv[2])
