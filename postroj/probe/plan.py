"""The plan of a run: how the user wants packages to be probed, the same on every image."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from postroj.container.limits import NOTHING, Asked
from postroj.model import Kernel
from postroj.probe.managers import manager_of
from postroj.probe.package.package_file import sha256
from postroj.verdict import StepName

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from postroj.model import Image, NetworkMode
    from postroj.probe.ask.checks import Manners
    from postroj.probe.ask.goss import Goss
    from postroj.probe.ask.question import Question
    from postroj.probe.configuration import Put
    from postroj.probe.evidence.witness import Visit
    from postroj.probe.excuse.expectations import Expectations
    from postroj.probe.package.package_file import PackageFile
    from postroj.probe.reproduce import Reproduction
    from postroj.probe.survey import Survey


LONGEST_SETTLE = 3.0
"""Most by which the time for a unit to stay up grows on slow guests: it is spent on each unit."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How to probe, independent of package and image."""

    questions: tuple[Question, ...]
    manners: Manners
    network: NetworkMode
    timeout: float
    """Seconds that a command of the package manager may take."""
    boot_timeout: float
    proxies: Mapping[str, str] = field(default_factory=dict)
    """Variables for the package manager and the set-up."""
    discover: bool = True
    """Whether to discover what the packages bring, and to check that, too."""
    steps: tuple[StepName, ...] = (StepName.INSTALL,)
    """In an order that `course.course` allows."""
    recommends: bool = True
    """Whether to install packages with their weak dependencies."""
    demanded: tuple[StepName, ...] = ()
    """The steps that the user names, which are missed if they cannot be taken."""
    must_start: bool = False
    """Whether a unit that `start` starts must come up, whatever the policy of the distribution."""
    start_units: tuple[str, ...] = ()
    """The units that `start` starts; without any, those that it finds."""
    may_leave: tuple[str, ...] = ()
    """Patterns of paths that the packages may leave behind after a purge."""
    upgrade_from: tuple[str, ...] = ()
    """Paths or URLs of the packages to upgrade from."""
    older: tuple[PackageFile, ...] = ()
    """The packages to upgrade from, as files on this host."""
    from_repository: bool = False
    """Whether to upgrade from the version in the guest's repositories."""
    goss: Goss | None = None
    """goss and its files, if questions are about these."""
    keep: bool = False
    """Whether the guest lives on after the verdict."""
    locks: tuple[int, ...] = ()
    """Descriptors of locks on downloaded packages, which a kept guest inherits."""
    setup: tuple[str, ...] = ()
    """Shell commands that change an image before the probe."""
    refresh: bool = False
    """Whether to replace cached layers."""
    offline: bool = False
    """Whether to use only cached data, and download nothing."""
    expected: Expectations = ()
    """The failures that the user expects."""
    architecture: str = ""
    """Architecture of the images, as `uname -m` writes it; '' is that of this host."""
    reproduction: Reproduction | None = None
    """The command line that repeats the probe, for any image; None if it is not known."""
    survey: Survey | None = None
    """Looks at the guest after each step that went well; None if nobody does."""
    visit: Visit | None = None
    """Opens a shell in a guest in which something went wrong; None for no shell."""
    puts: tuple[Put, ...] = ()
    """Files that are put into the guest."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables for the package manager and all services."""
    guests: int = 1
    """Number of guests that share this host."""
    limits: Asked = NOTHING
    """Limits that the user has set instead of the guest's share of the host."""
    private_users: bool = False
    """Whether the guest has private users."""
    kernel: Kernel = Kernel.SHARED
    """Whether the guest is a container, a machine, or first one and then the other."""

    def due(self, step: StepName, *, waits: bool = False) -> tuple[Question, ...]:
        """Return the user's questions to ask after a step.

        `waits` says that units of the packages wait for the step `start`. A question is about the
        packages under test, so it waits for `upgrade` if an older package comes before.
        """
        has_older = self.older or self.upgrade_from or self.from_repository
        if has_older and StepName.UPGRADE in self.steps:
            usual = StepName.UPGRADE
        else:
            usual = StepName.START if waits else self.steps[0]
        place = self.steps.index(step)

        def is_due(question: Question) -> bool:
            if question.demand:
                return place == 0
            return self.steps.index(question.since or usual) <= place

        return tuple(filter(is_due, self.questions))

    def on(self, image: Image) -> Plan:
        """Return the plan for one image: with the questions that concern it."""
        form = manager_of(image.manager).format if image.manager else ""
        asked = tuple(
            question for question in self.questions if question.concerns(image.name, form)
        )
        return replace(self, questions=asked)

    def command(self, image: str) -> str:
        """Return the command line that repeats the probe on an image; '' if that is not known."""
        return self.reproduction.command(image) if self.reproduction else ""

    def slowed(self, factor: float) -> Plan:
        """Return the plan for a guest that takes `factor` times as long."""
        questions = tuple(
            one if one.timeout is None else replace(one, timeout=one.timeout * factor)
            for one in self.questions
        )
        manners = replace(
            self.manners,
            timeout=self.manners.timeout * factor,
            settle=self.manners.settle * min(factor, LONGEST_SETTLE),
        )
        return replace(self, manners=manners, questions=questions)

    def pinned(self, paths: Sequence[Path]) -> Plan:
        """Add the digests of the packages at these paths, if any of them was downloaded."""
        if self.reproduction is None or not self.reproduction.fetches:
            return self
        return replace(
            self, reproduction=replace(self.reproduction, digests=tuple(map(sha256, paths)))
        )
