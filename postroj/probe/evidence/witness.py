"""Watch the steps of a probe: collect evidence after a failure, and open the guest to a visitor."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from postroj.errors import GuestError, PostrojError
from postroj.probe.evidence.collector import Collector, ending, units_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from postroj.container.guest import Guest
    from postroj.model import Image
    from postroj.verdict import Evidence, StepResult

Visit = Callable[["Guest", str], None]
"""Called with a guest in which something failed and a line that says what; it may take long."""


class Witness:
    """Collects the evidence of each step that goes wrong, and calls the visitor."""

    def __init__(
        self,
        guest: Guest,
        image: Image,
        visit: Visit | None,
        begin_part: Callable[[str], None],
        timings: dict[str, float],
    ) -> None:
        self._guest = guest
        self._image = image
        self._visit = visit
        self._begin_part = begin_part
        self._timings = timings
        self._collector = Collector(guest)
        self._since = time.time()
        """When the current step began, in seconds of the wall clock."""
        self._output = ""

    def record_output(self, argv: Sequence[str], output: str) -> None:
        """Record what a command of the package manager has printed."""
        self._output = ending(f"{self._output}$ {shlex.join(argv)}\n{output}\n")

    def begin_step(self) -> None:
        """Begin a step, and forget the output of the previous one."""
        self._since = time.time()
        self._output = ""

    def end_step(self, step: StepResult, units: Sequence[str]) -> tuple[Evidence, ...]:
        """Return the evidence of a step that went wrong; `units` are the judged ones."""
        if not step.outcome.is_bad:
            return ()
        found = self._collect([*units_of(step.checks), *units])
        self._admit_visitor(describe_failure(step))
        return found

    def end_with_error(self, error: PostrojError) -> tuple[Evidence, ...]:
        """Return the evidence that is available after an error that ends the probe."""
        found = self._collect(())
        self._admit_visitor(error.message)
        return found

    def _collect(self, units: Sequence[str]) -> tuple[Evidence, ...]:
        self._begin_part("evidence")
        began = time.monotonic()
        found = self._collector.collect(units, self._since, self._output)
        spent = time.monotonic() - began
        self._timings["evidence"] = self._timings.get("evidence", 0.0) + spent
        return found

    def _admit_visitor(self, sentence: str) -> None:
        if self._visit and not self._guest.has_ended():
            self._visit(self._guest, f"{self._image.name}: {sentence}")
            if self._guest.has_ended():
                message = "the guest ended while the shell was open"
                raise GuestError(message)


def describe_failure(step: StepResult) -> str:
    """Describe in one line what went wrong in a step: the step itself or the first bad check."""
    if step.done.is_bad:
        return f"{step.name}: {step.reason.partition(chr(10))[0]}"
    for check in step.checks:
        if check.outcome.is_bad:
            sentence = check.reason.partition("\n")[0]
            return f"{step.name}: {check.kind} {check.subject}: {sentence}"
    return ""
