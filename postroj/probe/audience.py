"""Who is told how a probe goes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from postroj.verdict import CheckResult, ProbeResult, StepResult


class Audience(Protocol):
    """Who is told how a probe goes while it goes."""

    def begin_probe(self, image: str, package: str) -> None:
        """Hear that a probe begins."""

    def begin_part(self, part: str) -> None:
        """Hear what takes a while now: one of the parts of `ProbeResult.timings`."""

    def end_step(self, step: StepResult) -> None:
        """Hear how a step went; its checks follow."""

    def end_check(self, check: CheckResult) -> None:
        """Hear an answer."""

    def end_probe(self, probe: ProbeResult) -> None:
        """Hear the verdict."""
