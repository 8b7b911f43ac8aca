"""Collect evidence in a guest after a failure, while it runs and up to a limit.

What is not available is replaced by a line with the reason, so nothing here breaks a probe. A guest
that has ended only leaves its console.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from postroj.errors import CommandError, PostrojError
from postroj.probe.ask import journal, sockets
from postroj.probe.ask.deadline import Deadline
from postroj.probe.ask.unitstate import is_template, unit_name
from postroj.probe.managers import MANAGERS
from postroj.verdict import CheckKind, Evidence, EvidenceName

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from postroj.container.guest import Entry, Guest, Socket
    from postroj.verdict import CheckResult

LIMIT = 256 << 10
"""Limit for one text, in bytes."""
ROOM = 2 << 20
"""Limit for all texts of a probe, in bytes: many probes may be in memory at once."""
LEAST = 1 << 10
"""Bytes that must be left for another text to be collected."""
LINES = 5000
"""Maximum number of lines to read from a journal: a guest may flood it."""
UNITS = 20
"""Maximum number of units to ask about."""
PATIENCE = 10.0
"""Timeout of one text, in seconds."""
PATIENCE_IN_ALL = 30.0
"""Timeout of all texts of a step, in seconds."""

LOGS = tuple(log for manager in MANAGERS.values() for log in manager.logs)
LOG_LIMIT = 64 << 10
"""Limit for one log file, in bytes."""
TAILS = """\
for log; do
    [ -f "$log" ] || continue
    echo "==> $log <=="
    tail -c {limit} -- "$log"
done
"""
CORES = Path(__file__).with_name("cores.sh").read_text()

Ask = tuple[EvidenceName, "Callable[[float], str]"]


class Collector:
    """Collects the evidence of each step in a guest, until the limit for the probe is reached."""

    def __init__(self, guest: Guest) -> None:
        self._guest = guest
        self._room = ROOM

    def collect(self, units: Sequence[str], since: float, output: str) -> tuple[Evidence, ...]:
        """Collect the evidence of a step that began at `since`, in seconds of the wall clock.

        `units` are those whose status and journal are shown. `output` is what the package manager
        printed during the step.
        """
        known: list[Ask] = [(EvidenceName.OUTPUT, lambda timeout: output)] if output else []
        if self._guest.has_ended():
            return self._gather([*known, (EvidenceName.CONSOLE, self._console)])
        asks = self._questions(self._with_failed(units), int(since))
        return self._gather([*known, *asks])

    def _with_failed(self, units: Sequence[str]) -> list[str]:
        try:
            failed = self._guest.failed_units()
        except PostrojError:
            failed = []
        named = (unit for unit in [*units, *failed] if not is_template(unit))
        return list(dict.fromkeys(named))[:UNITS]

    def _questions(self, units: Sequence[str], since: int) -> Iterator[Ask]:
        if units:
            yield EvidenceName.STATUS, partial(self._run, status_argv(units))
            yield EvidenceName.UNIT_JOURNAL, partial(self._run, journal_argv(since, units))
        yield EvidenceName.JOURNAL, partial(self._run, journal_argv(since))
        yield EvidenceName.FAILED, partial(self._run, systemctl_argv("--failed"))
        yield EvidenceName.JOBS, partial(self._run, systemctl_argv("list-jobs"))
        yield EvidenceName.SOCKETS, self._sockets
        yield EvidenceName.PACKAGES, partial(self._run, logs_argv())
        yield EvidenceName.CORES, partial(self._run, cores_argv(units))
        yield EvidenceName.CONSOLE, self._console

    def _gather(self, questions: Iterable[Ask]) -> tuple[Evidence, ...]:
        deadline = Deadline(PATIENCE_IN_ALL)
        texts = []
        for name, ask in questions:
            text = self._answer(ask, deadline).rstrip()
            found = Evidence(name=name, text=text).within(max(LEAST, min(LIMIT, self._room)))
            self._room -= len(found.text.encode(errors="replace"))
            texts.append(found)
        return tuple(texts)

    def _answer(self, ask: Callable[[float], str], deadline: Deadline) -> str:
        if self._room < LEAST:
            return f"left out: this probe already has {ROOM >> 10} KiB of evidence"
        if not deadline.left:
            return f"left out: the evidence before it took {PATIENCE_IN_ALL:g} s"
        try:
            return ask(min(PATIENCE, deadline.left))
        except CommandError as error:  # it may have printed something before it was killed
            return f"{error.output}\n{error.message}".lstrip("\n")
        except PostrojError as error:
            return f"not available: {error.message}"
        except OSError as error:
            return f"not available: {error}"

    def _run(self, argv: Sequence[str], timeout: float) -> str:
        """Run a command in the guest, and return its output whatever its status."""
        return self._guest.run(argv, ok=range(256), timeout=timeout).output

    def _sockets(self, timeout: float) -> str:
        del timeout  # no command runs in the guest
        return describe_sockets(sockets.listening(self._guest))

    def _console(self, timeout: float) -> str:
        del timeout
        return self._guest.console(LIMIT).replace("\r", "")


def of_console(text: str) -> tuple[Evidence, ...]:
    """Return the evidence of a guest that never became ready: its console, unless it is empty."""
    tail = ending(text).rstrip()
    return (Evidence(name=EvidenceName.CONSOLE, text=tail),) if tail else ()


def ending(text: str) -> str:
    """Return a text, or its last lines if it exceeds `LIMIT`."""
    return Evidence(name=EvidenceName.OUTPUT, text=text).within(LIMIT).text


def units_of(checks: Iterable[CheckResult]) -> list[str]:
    """Return the units whose checks failed or had an error."""
    subjects = [c.subject for c in checks if c.kind is CheckKind.UNIT and c.outcome.is_bad]
    return [unit_name(subject) for subject in subjects]


def status_argv(units: Sequence[str]) -> list[str]:
    """Return the command that shows the status of units with the last lines of their journals."""
    return [*systemctl_argv("status"), "--full", "--lines=50", "--", *units]


def systemctl_argv(verb: str) -> list[str]:
    """Return a systemctl command without a pager."""
    return ["systemctl", "--no-pager", verb]


def journal_argv(since: int, units: Sequence[str] = ()) -> list[str]:
    """Return the command that shows the journal since a moment, of all or of these units."""
    return [
        *("journalctl", "--no-pager", "--output=short-precise"),
        *(f"--since=@{since}", f"--lines={LINES}", *journal.about(units)),
    ]


def logs_argv() -> list[str]:
    """Return the command that shows the ends of the package managers' logs."""
    return ["sh", "-c", TAILS.format(limit=LOG_LIMIT), "sh", *LOGS]


def cores_argv(units: Sequence[str]) -> list[str]:
    """Return the command that lists core dumps, also in the working directories of these units."""
    return ["sh", "-c", CORES, "sh", *units]


def describe_sockets(listening: Iterable[Socket]) -> str:
    """Describe listening sockets with their owners, one per line."""
    rows = [
        f"{socket.entry.protocol:<9} {_where(socket.entry):<40} {socket.unit or '-'} "
        f"({socket.process})"
        for socket in listening
    ]
    return "\n".join(rows) or "none"


def _where(entry: Entry) -> str:
    return entry.text if entry.is_unix else f"{entry.address}:{entry.port}"
