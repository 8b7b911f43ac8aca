"""Configure a guest as the user asks: put files into it, and set environment variables."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from postroj.errors import CommandError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from postroj.container.guest import Guest
    from postroj.probe.managers.base import PackageManager

DROP_IN = "/etc/systemd/system.conf.d/postroj.conf"
"""A file of the manager's configuration, systemd-system.conf(5)."""
PATIENCE = 30.0
"""Seconds for one command."""
LIMIT = 64 << 20
"""Maximum size of a file, in bytes."""
WRITE = Path(__file__).with_name("write.sh").read_text()
TAKE_BACK = Path(__file__).with_name("take_back.sh").read_text()


@dataclass(frozen=True, kw_only=True)
class Put:
    """A file of the host that the guest gets."""

    source: Path
    path: str
    """An absolute path in the guest."""
    is_late: bool = False
    """Whether it is put there before the step `start`, not before the installation."""


def put(guest: Guest, files: Iterable[Put]) -> None:
    """Write files; a new one has the mode it has on the host, another keeps mode and owner.

    :raises UsageError: if one cannot be read or written.
    """
    for file in files:
        try:
            content = file.source.read_bytes()
            mode = file.source.stat().st_mode & 0o777
        except OSError as error:
            message = f"'{file.source}' cannot be read"
            raise UsageError(message, evidence=str(error)) from None
        _write(guest, file.path, content, mode)


def _write(guest: Guest, path: str, content: bytes, mode: int) -> None:
    argv = ["sh", "-c", WRITE, "sh", path, f"{mode:o}"]
    try:
        guest.run(argv, stdin=content, timeout=PATIENCE)
    except CommandError as error:
        message = f"'{path}' cannot be written in the guest"
        raise UsageError(message, evidence=error.output) from None


def take_back(guest: Guest, files: Iterable[Put]) -> None:
    """Delete what `put` has written, and folders that are empty then, as nobody else does."""
    for file in files:
        guest.run(["sh", "-c", TAKE_BACK, "sh", file.path], ok=range(256), timeout=PATIENCE)


def set_environment(guest: Guest, variables: Mapping[str, str]) -> None:
    """Set variables for all services, now and after a reboot.

    Neither way touches a unit, needs a reload or depends on a version of systemd.
    """
    if not variables:
        return
    words = [f"{name}={value}" for name, value in variables.items()]
    guest.run(["systemctl", "set-environment", *words], timeout=PATIENCE)
    text = f"[Manager]\nDefaultEnvironment={' '.join(map(_quoted, words))}\n"
    _write(guest, DROP_IN, text.encode(), 0o644)


def _quoted(word: str) -> str:
    """Quote a word for a unit's file, systemd.syntax(7)."""
    for char, escaped in (("\\", "\\\\"), ('"', '\\"'), ("%", "%%")):
        word = word.replace(char, escaped)
    return f'"{word}"'


def with_environment(manager: PackageManager, variables: Mapping[str, str]) -> PackageManager:
    """Return a package manager whose commands and scripts see more variables."""
    if not variables:
        return manager
    changed = copy.copy(manager)
    changed.environment = {**manager.environment, **variables}
    return changed
