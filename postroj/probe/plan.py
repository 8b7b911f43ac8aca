"""How packages are to be probed, as it was asked for; the same on every image."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from postroj.container.cgroup.limits import NOTHING, Asked
from postroj.probe.package.package_file import sha256
from postroj.verdict import StepName

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from postroj.model import NetworkMode
    from postroj.probe.ask.checks import Manners
    from postroj.probe.ask.question import Question
    from postroj.probe.evidence.witness import Visit
    from postroj.probe.excuse.expectations import Expectations
    from postroj.probe.package.package_file import PackageFile
    from postroj.probe.reproduce import Reproduction


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How to probe, whatever the package and the image."""

    questions: tuple[Question, ...]
    manners: Manners
    network: NetworkMode
    timeout: float
    """Seconds that a command of the package manager may take."""
    boot_timeout: float
    proxies: Mapping[str, str] = field(default_factory=dict)
    """Variables for the package manager and the set-up."""
    discover: bool = True
    """Whether to find out what the package brings, and to ask about that too."""
    steps: tuple[StepName, ...] = (StepName.INSTALL,)
    """In an order that `course.course` allows."""
    upgrade_from: tuple[str, ...] = ()
    """Paths or URLs of the packages to upgrade from."""
    older: tuple[PackageFile, ...] = ()
    """The same, once they are here."""
    from_repository: bool = False
    """Whether to upgrade from what the guest's repositories have."""
    keep: bool = False
    """Whether the guest lives on after the verdict."""
    locks: tuple[int, ...] = ()
    """Descriptors of locks on what was fetched, for a guest that lives on."""
    setup: tuple[str, ...] = ()
    """Shell commands by which an image is changed beforehand."""
    refresh: bool = False
    """Whether to make anew what is kept between runs."""
    offline: bool = False
    """Whether to do with what is kept, and fetch nothing."""
    expected: Expectations = ()
    """What is known to fail, and where."""
    architecture: str = ""
    """Of the images, as `uname -m` has it; this host's, if nothing is said."""
    reproduction: Reproduction | None = None
    """What to type to have the same once more."""
    visit: Visit | None = None
    """Who is let in where something goes wrong."""
    guests: int = 1
    """How many share what this host can give."""
    limits: Asked = NOTHING
    """What the guest may take in place of its share."""
    private_users: bool = False
    """Whether the guest's users are others than those of the host."""

    def command(self, image: str) -> str:
        """Return the command line that repeats the probe on an image; '' if nobody knows."""
        return self.reproduction.command(image) if self.reproduction else ""

    def pinned(self, paths: Sequence[Path]) -> Plan:
        """Return it with the digests of the packages, if any was fetched: here it came to lie."""
        if self.reproduction is None or not self.reproduction.fetches:
            return self
        return replace(
            self, reproduction=replace(self.reproduction, digests=tuple(map(sha256, paths)))
        )
