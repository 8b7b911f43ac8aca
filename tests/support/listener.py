"""Who is told how a probe goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from postroj.verdict import ProbeResult, StepResult


class Nobody:
    """An audience that does not listen."""

    def begin_probe(self, image: str, package: str) -> None: ...

    def begin_part(self, part: str) -> None: ...

    def end_step(self, step: StepResult) -> None: ...

    def end_check(self, check: object) -> None: ...

    def end_probe(self, probe: ProbeResult) -> None: ...
