"""Check that a program runs in a guest, perhaps as a certain user."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from postroj.probe.ask import accounts
from postroj.verdict import CheckKind, Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from postroj.container.guest import Guest, Process
    from postroj.probe.ask.question import Question

SCRIPT = Path(__file__).with_name("running.sh").read_text(encoding="utf-8")
NAME = 15
"""Bytes of a name that the kernel keeps, comm(5)."""
SHOWN = 20
"""Maximum number of processes to name."""


def check(guest: Guest, question: Question) -> tuple[Outcome, str]:
    """Look for processes of a program once."""
    every = guest.processes()
    found = matching(every, question.subject)
    if not found:
        others = [process for process in every if process.unit]
        return Outcome.FAIL, f"no such process runs\nprocesses of units: {listed(others) or 'none'}"
    owner = question.required.owner
    if not owner:
        return Outcome.PASS, listed(found)
    user = accounts.find(guest, CheckKind.USER, owner)
    if user is None:
        return Outcome.FAIL, f"there is no user '{owner}'; it runs as {listed(found)}"
    found_as = uids(guest, found)
    own = [process for process in found if found_as.get(process.pid) == user.number]
    if own:
        return Outcome.PASS, f"{listed(own)}, user {owner}"
    names = {uid: accounts.find(guest, CheckKind.USER, str(uid)) for uid in {*found_as.values()}}
    others_of = sorted(one.name if one else str(uid) for uid, one in names.items())
    return Outcome.FAIL, f"runs as {' and '.join(others_of)} instead of {owner}: {listed(found)}"


def matching(processes: Sequence[Process], text: str) -> list[Process]:
    """Return the processes of a program; `text` is its absolute path or its name.

    The program may be a script, whose interpreter has its path as first argument.
    """
    return [process for process in processes if _is_of(process, text)]


def _is_of(process: Process, text: str) -> bool:
    words = (process.executable, *process.arguments[:2])
    if not any(words):  # a zombie
        return False
    if text.startswith("/"):
        return text.removeprefix("/usr") in {word.removeprefix("/usr") for word in words}
    programs = {word.rpartition("/")[2] for word in words[:2]}
    return text in programs or process.name == text.encode()[:NAME].decode(errors="ignore")


def uids(guest: Guest, processes: Sequence[Process]) -> dict[int, int]:
    """Return the effective UID of processes by PID, as the guest numbers them."""
    argv = ["sh", "-c", SCRIPT, "sh", *(str(process.pid) for process in processes)]
    lines = guest.run(argv, timeout=30).text.splitlines()
    return {int(pid): int(uid) for pid, uid in map(str.split, lines)}


def listed(processes: Sequence[Process]) -> str:
    """Name processes, each with its PID and unit."""
    texts = [_describe(process) for process in processes[:SHOWN]]
    more = f" and {len(processes) - SHOWN} more" if len(processes) > SHOWN else ""
    return ", ".join(texts) + more


def _describe(process: Process) -> str:
    unit = f", {process.unit}" if process.unit else ""
    return f"{process.name} (PID {process.pid}{unit})"
