"""Audiences follow a probe while it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from threading import Event

    from postroj.verdict import CheckResult, ProbeResult, StepResult


class Audience(Protocol):
    """Receives each event of a probe when it happens."""

    def begin_probe(self, image: str, package: str) -> None:
        """A probe begins."""

    def begin_part(self, part: str) -> None:
        """A part of the probe begins, a key of `ProbeResult.timings`."""

    def end_step(self, step: StepResult) -> None:
        """A step has ended; its checks follow."""

    def end_check(self, check: CheckResult) -> None:
        """A check has been answered."""

    def end_probe(self, probe: ProbeResult) -> None:
        """The probe has ended with this verdict."""


class UntilOver:
    """Forward the events of a probe to an audience until the probe is given up."""

    def __init__(self, audience: Audience, over: Event) -> None:
        self._audience = audience
        self._over = over
        self.has_begun = False
        """Whether the beginning was forwarded."""
        self.has_ended = False
        """Whether the verdict was forwarded."""

    def begin_probe(self, image: str, package: str) -> None:
        """Forward the beginning."""
        if not self._over.is_set():
            self.has_begun = True
            self._audience.begin_probe(image, package)

    def begin_part(self, part: str) -> None:
        """Forward the beginning of a part."""
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
