"""What a guest that runs through qemu-user cannot be blamed for, nor can a package in it.

qemu-user does not have all that systemd asks of a kernel before it starts a program of a unit:
with qemu 7.2 no `PrivateNetwork=`, `PrivateUsers=`, `PrivateIPC=` and no credentials can be had.
Such a failure looks as if the unit were wrong. So it is an error, and not held against the package.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from postroj.verdict import Outcome

if TYPE_CHECKING:
    from postroj.container.guest import Guest
    from postroj.probe.audience import Audience
    from postroj.verdict import CheckResult, ProbeResult, StepResult

NOTE = "its programs ran through qemu-user, which is slow, and does not do all that a kernel does"
DOUBT = "qemu-user may be to blame, which does not give a unit all that systemd asks for"
BEFORE_START = re.compile(
    r"Failed at step (?:USER|NETWORK|NAMESPACE|CREDENTIALS) spawning"
    r"|(?:217|225|226|243)(?:/| \()(?:USER|NETWORK|NAMESPACE|CREDENTIALS)"
)
"""How systemd says that it could not start a program: in the journal, and as a status.

systemd.exec(5)
"""


def refusals(guest: Guest, since: float) -> list[str]:
    """Lines of the journal since a time of the wall clock that say so.

    A script that starts a unit is told nothing but that it failed.
    """
    argv = ["journalctl", "--boot", "--quiet", "--no-pager", f"--since=@{int(since)}"]
    lines = guest.run(argv, ok=range(256), timeout=30).text.splitlines()
    return [line for line in lines if BEFORE_START.search(line)]


def doubted_step(step: StepResult) -> StepResult:
    """Return a step whose failure is an error, if qemu-user may be to blame; its checks stay."""
    if step.done is Outcome.FAIL and BEFORE_START.search(step.reason):
        return replace(step, done=Outcome.ERROR, reason=f"{DOUBT}: {step.reason}")
    return step


def doubted(probe: ProbeResult) -> ProbeResult:
    """Return a probe without failures of qemu-user, and say that there was one."""
    doubt = Doubt()
    steps = tuple(
        replace(doubted_step(step), checks=tuple(map(doubt.of_check, step.checks)))
        for step in probe.steps
    )
    return replace(probe, steps=steps, notes=(*probe.notes, NOTE))


class Doubt:
    """What qemu-user may be to blame for, of all answers of a probe in their order."""

    def __init__(self) -> None:
        self._subjects: set[str] = set()

    def of_check(self, check: CheckResult) -> CheckResult:
        """Return a check whose failure is an error, if it or one that it names is in doubt."""
        sentence = check.reason.partition("\n")[0]
        doubtful = BEFORE_START.search(check.reason) or any(
            subject in sentence for subject in self._subjects
        )
        if check.outcome is not Outcome.FAIL or not doubtful:
            return check
        self._subjects.add(check.subject)
        return replace(check, outcome=Outcome.ERROR, reason=f"{DOUBT}: {check.reason}")


class Doubting:
    """An audience that hears what qemu-user may be to blame for as an error."""

    def __init__(self, audience: Audience) -> None:
        self._audience = audience
        self._doubt = Doubt()

    def begin_probe(self, image: str, package: str) -> None:
        """Hear that a probe begins."""
        self._audience.begin_probe(image, package)

    def begin_part(self, part: str) -> None:
        """Hear what takes a while now."""
        self._audience.begin_part(part)

    def end_step(self, step: StepResult) -> None:
        """Hear how a step went; its checks follow."""
        self._audience.end_step(doubted_step(step))

    def end_check(self, check: CheckResult) -> None:
        """Hear an answer."""
        self._audience.end_check(self._doubt.of_check(check))

    def end_probe(self, probe: ProbeResult) -> None:
        """Hear the verdict, which is what `doubted` has made of it."""
        self._audience.end_probe(probe)
