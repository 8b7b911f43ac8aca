"""Audiences of a probe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from postroj.verdict import ProbeResult, StepResult


class Nobody:
    """An audience that does not listen."""

    def begin_probe(self, image: str, package: str) -> None: ...

    def begin_part(self, part: str) -> None: ...

    def end_step(self, step: StepResult) -> None: ...

    def end_check(self, check: object) -> None: ...

    def end_probe(self, probe: ProbeResult) -> None: ...


class Ear(Nobody):
    """An audience that records the events of probes in order, but for their parts."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def begin_probe(self, image: str, package: str) -> None:
        self.told.append((image, package))

    def end_step(self, step: StepResult) -> None:
        self.told.append(step)

    def end_check(self, check: object) -> None:
        self.told.append(check)

    def end_probe(self, probe: ProbeResult) -> None:
        self.told.append(probe)
