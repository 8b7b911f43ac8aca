"""Turn failures that qemu-user may have caused into errors.

qemu-user lacks features that systemd needs before it starts the program of a unit: with qemu 7.2
`PrivateNetwork=`, `PrivateUsers=`, `PrivateIPC=` and credentials do not work. Such a failure
looks like a mistake in the unit.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from postroj.verdict import Outcome

if TYPE_CHECKING:
    from postroj.container.guest import Guest
    from postroj.verdict import CheckResult, StepResult

NOTE = "its programs ran through qemu-user, which is slow and lacks features of a kernel"
DOUBT = "qemu-user may be to blame, which lacks features that systemd needs to start a unit"
BEFORE_START = re.compile(
    r"Failed at step (?:USER|NETWORK|NAMESPACE|CREDENTIALS) spawning"
    r"|(?:217|225|226|243)(?:/| \()(?:USER|NETWORK|NAMESPACE|CREDENTIALS)"
)
"""How systemd reports that it could not start a program, in the journal and as an exit status.

systemd.exec(5)
"""


def refusals(guest: Guest, since: float) -> list[str]:
    """Return the lines of the journal since a time of the wall clock that show such a failure.

    The journal is needed because systemctl only tells a maintainer script that the start failed.
    """
    argv = ["journalctl", "--boot", "--quiet", "--no-pager", f"--since=@{int(since)}"]
    lines = guest.run(argv, ok=range(256), timeout=30).text.splitlines()
    return [line for line in lines if BEFORE_START.search(line)]


def doubted_step(step: StepResult) -> StepResult:
    """Turn the failure of a step into an error if qemu-user may be to blame; its checks stay."""
    if step.done is Outcome.FAIL and BEFORE_START.search(step.reason):
        return replace(step, done=Outcome.ERROR, reason=f"{DOUBT}: {step.reason}")
    return step


class Doubt:
    """Decides which failed checks of one probe are in doubt; asked in the order of the answers."""

    def __init__(self) -> None:
        self._subjects: set[str] = set()

    def of_check(self, check: CheckResult) -> CheckResult:
        """Turn a failure into an error if the check is in doubt, or names a subject that is."""
        sentence = check.reason.partition("\n")[0]
        doubtful = BEFORE_START.search(check.reason) or any(
            subject in sentence for subject in self._subjects
        )
        if check.outcome is not Outcome.FAIL or not doubtful:
            return check
        self._subjects.add(check.subject)
        return replace(check, outcome=Outcome.ERROR, reason=f"{DOUBT}: {check.reason}")
