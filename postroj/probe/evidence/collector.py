"""What a guest has to say after a failure: collected while it runs, and of limited size.

Whatever cannot be had says why in one line; nothing here breaks a probe. A guest that has ended
gives its console alone.
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
"""Bytes of one text."""
ROOM = 2 << 20
"""Bytes of all texts of a probe: many probes may be kept at once."""
LEAST = 1 << 10
"""Bytes of a text that are worth keeping."""
LINES = 5000
"""Lines of a journal that are looked at: a guest that floods it would keep us busy."""
UNITS = 20
"""As many units are asked about."""
PATIENCE = 10.0
"""Seconds for one text."""
PATIENCE_IN_ALL = 30.0
"""Seconds for all texts of a step."""

LOGS = tuple(log for manager in MANAGERS.values() for log in manager.logs)
LOG_LIMIT = 64 << 10
"""Bytes of one log file."""
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
    """Collects evidence in a guest, of one step after the other, until there is no room left."""

    def __init__(self, guest: Guest) -> None:
        self._guest = guest
        self._room = ROOM

    def collect(self, units: Sequence[str], since: float, output: str) -> tuple[Evidence, ...]:
        """Ask the guest; `units` are of interest, the step began at `since` (seconds, UTC).

        `output` is what the package manager has printed since.
        """
        known: list[Ask] = [(EvidenceName.OUTPUT, lambda timeout: output)] if output else []
        if self._guest.has_ended():
            return self._keep([*known, (EvidenceName.CONSOLE, self._console)])
        asks = self._questions(self._with_failed(units), int(since))
        return self._keep([*known, *asks])

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

    def _keep(self, questions: Iterable[Ask]) -> tuple[Evidence, ...]:
        deadline = Deadline(PATIENCE_IN_ALL)
        kept = []
        for name, ask in questions:
            text = self._answer(ask, deadline).rstrip()
            found = Evidence(name=name, text=text).within(max(LEAST, min(LIMIT, self._room)))
            self._room -= len(found.text.encode(errors="replace"))
            kept.append(found)
        return tuple(kept)

    def _answer(self, ask: Callable[[float], str], deadline: Deadline) -> str:
        if self._room < LEAST:
            return f"left out: the evidence of this probe has {ROOM >> 10} KiB already"
        if not deadline.left:
            return f"left out: all before took {PATIENCE_IN_ALL:g} s"
        try:
            return ask(min(PATIENCE, deadline.left))
        except CommandError as error:  # it may have said something until it was killed
            return f"{error.output}\n{error.message}".lstrip("\n")
        except PostrojError as error:
            return f"not to be had: {error.message}"
        except OSError as error:
            return f"not to be had: {error}"

    def _run(self, argv: Sequence[str], timeout: float) -> str:
        """Run a command in the guest; all that it says is an answer, whatever its status."""
        return self._guest.run(argv, ok=range(256), timeout=timeout).output

    def _sockets(self, timeout: float) -> str:
        del timeout  # the host is asked
        return told(sockets.listening(self._guest))

    def _console(self, timeout: float) -> str:
        del timeout
        return self._guest.console(LIMIT).replace("\r", "")


def of_console(text: str) -> tuple[Evidence, ...]:
    """Return what a guest that never became ready leaves: its console; nothing if it was silent."""
    kept = ending(text).rstrip()
    return (Evidence(name=EvidenceName.CONSOLE, text=kept),) if kept else ()


def ending(text: str) -> str:
    """Return a text, or the last lines of one that is too long to be kept."""
    return Evidence(name=EvidenceName.OUTPUT, text=text).within(LIMIT).text


def units_of(checks: Iterable[CheckResult]) -> list[str]:
    """Return the units that did not pass."""
    subjects = [c.subject for c in checks if c.kind is CheckKind.UNIT and c.outcome.is_bad]
    return [unit_name(subject) for subject in subjects]


def status_argv(units: Sequence[str]) -> list[str]:
    """Return the command that shows units with the last lines of their journal."""
    return [*systemctl_argv("status"), "--full", "--lines=50", "--", *units]


def systemctl_argv(verb: str) -> list[str]:
    """Return a command of systemctl for a file, without colour and pager."""
    return ["systemctl", "--no-pager", verb]


def journal_argv(since: int, units: Sequence[str] = ()) -> list[str]:
    """Return the command that shows the journal since a moment: of all, or of these units."""
    return [
        *("journalctl", "--no-pager", "--output=short-precise"),
        *(f"--since=@{since}", f"--lines={LINES}", *journal.about(units)),
    ]


def logs_argv() -> list[str]:
    """Return the command that shows the ends of the package managers' logs."""
    return ["sh", "-c", TAILS.format(limit=LOG_LIMIT), "sh", *LOGS]


def cores_argv(units: Sequence[str]) -> list[str]:
    """Return the command that lists core dumps, also those where these units work."""
    return ["sh", "-c", CORES, "sh", *units]


def told(listening: Iterable[Socket]) -> str:
    """Say line by line what listens, and whose it is."""
    rows = [
        f"{socket.entry.protocol:<9} {_where(socket.entry):<40} {socket.unit or '-'} "
        f"({socket.process})"
        for socket in listening
    ]
    return "\n".join(rows) or "none"


def _where(entry: Entry) -> str:
    return entry.address if entry.is_unix else f"{entry.address}:{entry.port}"
