"""What every package manager answers: command lines, and whom a failure is to be blamed on.

Pure: argv out, text in. Running is the guest's business.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from postroj.model import Outcome


@dataclass(frozen=True, kw_only=True)
class PackageFacts:
    """What a package file says of itself."""

    name: str
    version: str
    architecture: str
    """In the manager's own words: `amd64`, `all`."""


@dataclass(frozen=True, kw_only=True)
class Blame:
    """Why a package manager failed: `FAIL` is the package's fault, `ERROR` ours."""

    outcome: Outcome
    sentence: str
    evidence: str
    hint: str = ""

    @property
    def reason(self) -> str:
        """The sentence, and the evidence below it."""
        return "\n".join(part for part in (self.sentence, self.evidence) if part)


class PackageManager(Protocol):
    """One of the package managers; see `postroj.probe.managers.apt`."""

    environment: Mapping[str, str]
    """For all its commands: nothing asks questions, nothing is translated."""

    def refresh(self) -> list[str]:
        """Fetch the package lists."""

    def install(self, paths: Sequence[str]) -> list[str]:
        """Install package files, with dependencies from the repositories."""

    def describe(self, path: str) -> list[str]:
        """Print what a package file says of itself."""

    def facts(self, text: str) -> PackageFacts:
        """Read what `describe` printed."""

    def architectures(self) -> list[str]:
        """Print the architectures that can be installed."""

    def blame(self, output: str, names: Sequence[str]) -> Blame:
        """Say why a command of this manager failed; `names` are the packages under test."""

    def blame_timeout(self, output: str, names: Sequence[str], seconds: float) -> Blame:
        """Say what was going on when the time was over."""
