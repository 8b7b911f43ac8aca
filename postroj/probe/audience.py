"""Audiences: those who follow a probe while it goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from threading import Event

    from postroj.verdict import CheckResult, ProbeResult, StepResult


class Audience(Protocol):
    """Hears of each event of a probe when it happens."""

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


class UntilOver:
    """Forward the events of a probe to an audience until the probe is given up."""

    def __init__(self, audience: Audience, over: Event) -> None:
        self._audience = audience
        self._over = over
        self.has_begun = False
        """Whether the audience has heard the beginning."""
        self.has_ended = False
        """Whether the audience has heard the verdict."""

    def begin_probe(self, image: str, package: str) -> None:
        """Forward the beginning."""
        if not self._over.is_set():
            self.has_begun = True
            self._audience.begin_probe(image, package)

    def begin_part(self, part: str) -> None:
        """Forward what takes a while now."""
        if not self._over.is_set():
            self._audience.begin_part(part)

    def end_step(self, step: StepResult) -> None:
        """Forward a step."""
        if not self._over.is_set():
            self._audience.end_step(step)

    def end_check(self, check: CheckResult) -> None:
        """Forward an answer."""
        if not self._over.is_set():
            self._audience.end_check(check)

    def end_probe(self, probe: ProbeResult) -> None:
        """Forward the verdict."""
        if not self._over.is_set():
            self.has_ended = True
            self._audience.end_probe(probe)
