"""The public API: guests and probes for Python programs such as tests.

What is documented here stays compatible within a major version; the rest of the package may change
at any time. Both run the commands of postroj in processes of their own: a program keeps its
user, its threads and its memory to itself, and a guest ends with it, however it ends.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from typing import IO, TYPE_CHECKING, Any, Self

from postroj.locking import random_digits

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from postroj.probe.managers.base import PackageManager

__all__ = ["Guest", "PostrojFailed", "probe"]

COMMAND = (sys.executable, "-m", "postroj")
READY = "ready\n"
# ends when nobody can write to its stdin any more
WAIT = f"printf {shlex.quote(READY)}; exec cat >/dev/null"
FOLDER = "/run/postroj-packages"
FIRST = 'for tool; do ! command -v "$tool" || break; done'
"""Prints the path of the first of its arguments that is a program of the guest."""


class PostrojFailed(Exception):
    """postroj itself failed: the image, the host or the network. The text is what it said."""


class Guest:
    """A booted guest of an image, as a context manager.

    .. code-block:: python

       with Guest("debian-bookworm") as guest:
           guest.install("dist/foo_1.0_all.deb")
           guest.run("systemctl", "is-active", "foo.service")

    `options` are options of ``postroj run``, as ``("--memory", "1G")``. Without `image` the guest
    has the default image of postroj.
    """

    def __init__(self, image: str = "", *, options: Sequence[str] = ()) -> None:
        self.image = image
        self.name = f"guest-{random_digits()}"
        """The name of the guest for commands such as ``postroj exec``."""
        self._options = tuple(options)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Boot the guest.

        :raises PostrojFailed: if it does not become ready.
        """
        image = ("--image", self.image) if self.image else ()
        argv = [*COMMAND, "run", "--name", self.name, *image, *self._options]
        with ExitStack() as stack:
            said = stack.enter_context(tempfile.TemporaryFile())
            child = stack.enter_context(_started([*argv, "--", "sh", "-c", WAIT], said))
            assert child.stdout
            if child.stdout.readline() != READY:
                child.communicate()
                said.seek(0)
                raise PostrojFailed(said.read().decode(errors="replace").strip())
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc_info: object) -> None:
        """End the guest, and wait until nothing is left of it."""
        self._stack.close()

    def run(
        self,
        *argv: str,
        check: bool = True,
        stdin: str = "",
        timeout: float | None = None,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as root in the guest, and return its status and output.

        The status is 125 if postroj failed; `stderr` says how then. `timeout` is in seconds.

        :raises subprocess.CalledProcessError: if the status is not 0, with `check`.
        :raises subprocess.TimeoutExpired: if the command takes longer; it is killed then.
        """
        __tracebackhide__ = True  # pytest shows who called
        given = [word for name, value in (env or {}).items() for word in ("-e", f"{name}={value}")]
        done = _run(["exec", *given, self.name, "--", *argv], stdin=stdin, timeout=timeout)
        done.args = list(argv)
        if check and done.returncode:
            error = subprocess.CalledProcessError(
                done.returncode, done.args, done.stdout, done.stderr
            )
            error.add_note(f"{done.stdout}{done.stderr}".strip())
            raise error
        return done

    def copy(self, source: str | Path, target: str | Path) -> None:
        """Copy a file or folder as ``postroj cp`` does; one of them is ``":PATH"`` in the guest.

        :raises PostrojFailed: if that fails.
        """
        here, there = (self._place(path) for path in (source, target))
        _required(_run(["cp", here, there]))

    def install(self, *files: str | Path) -> subprocess.CompletedProcess[str]:
        """Install package files as a probe does, and return the output of the package manager.

        :raises PostrojFailed: if a file cannot be copied into the guest, or the guest has no
            package manager that postroj knows.
        :raises subprocess.CalledProcessError: if the installation fails.
        """
        __tracebackhide__ = True
        manager = self._manager()
        self.run("mkdir", "-p", FOLDER)
        for file in files:
            self.copy(file, f":{FOLDER}")
        paths = [f"{FOLDER}/{os.path.basename(file)}" for file in files]  # noqa: PTH119
        self.run(*manager.refresh(), env=manager.environment)
        return self.run(*manager.install(paths), env=manager.environment)

    def _manager(self) -> PackageManager:
        """Return the package manager of the guest.

        :raises PostrojFailed: if postroj does not know it.
        """
        from postroj.image.inspect import MANAGERS
        from postroj.probe.managers import manager_of

        tool = self.run("sh", "-c", FIRST, "sh", *MANAGERS).stdout.strip().rpartition("/")[2]
        if tool not in MANAGERS:
            message = f"the guest has none of {', '.join(MANAGERS)}"
            raise PostrojFailed(message)
        return manager_of(MANAGERS[tool])

    def _place(self, path: str | Path) -> str:
        text = os.fspath(path)
        return f"{self.name}{text}" if text.startswith(":") else os.path.abspath(text)  # noqa: PTH100


def probe(*packages: str | Path, image: str = "", options: Sequence[str] = ()) -> dict[str, Any]:
    """Probe package files as ``postroj pkgprobe`` does, and return its JSON report as a dict.

    `options` are options of ``pkgprobe``, as ``("--steps", "all")``. The report has the verdict
    in ``report["outcome"]``; see the page about reports.

    :raises PostrojFailed: if there is no report.
    """
    words = [word for path in packages for word in ("--package", os.fspath(path))]
    chosen = ("--image", image) if image else ()
    done = _run(["pkgprobe", "--json", *words, *chosen, *options])
    try:
        report: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        raise PostrojFailed(done.stderr.strip()) from None
    return report


def _started(argv: Sequence[str], said: IO[bytes]) -> subprocess.Popen[str]:
    """Start a command that ends when its stdin does; leaving its context closes that and waits."""
    pipe = subprocess.PIPE
    return subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=said, text=True)


def _run(
    words: Sequence[str], *, stdin: str = "", timeout: float | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *words],
        check=False,
        capture_output=True,
        text=True,
        errors="replace",
        input=stdin,
        timeout=timeout,
    )


def _required(done: subprocess.CompletedProcess[str]) -> None:
    if done.returncode:
        raise PostrojFailed(done.stderr.strip())
