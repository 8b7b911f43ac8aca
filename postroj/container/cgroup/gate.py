"""Hold a command back until it has joined its control groups, so that it never runs outside."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


class UnjoinedError(OSError):
    """A control group does not accept a command."""


def move(pid: int, groups: Iterable[Path]) -> None:
    """Move a process into groups; each is given by the file into which its PID is written.

    :raises OSError: if a group does not accept it.
    """
    for group in groups:
        with group.open("r+b", buffering=0) as file:  # "r+" creates no file
            file.write(b"%d" % pid)


class Gate:
    """A pipe at which the shell that becomes a command waits; it stays shut if postroj ends."""

    def __init__(self, groups: Iterable[Path]) -> None:
        """Make a gate to `groups`, the files into which a PID is written to join each of them."""
        self._groups = tuple(groups)
        self._exit, self._entry = os.pipe()

    @property
    def path(self) -> str:
        """The file from which a line can be read once the gate is open; no child inherits it."""
        return f"/proc/{os.getpid()}/fd/{self._exit}"

    def admit(self, pid: int) -> None:
        """Move a process into the groups, then open the gate.

        :raises UnjoinedError: if a group does not accept it; then the gate stays shut.
        """
        try:
            move(pid, self._groups)
        except OSError as error:
            raise UnjoinedError(str(error)) from None
        os.write(self._entry, b"\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        os.close(self._exit)
        os.close(self._entry)
