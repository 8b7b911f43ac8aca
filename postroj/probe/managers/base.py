"""What every package manager answers: command lines, and whom a failure is to be blamed on.

Pure: argv out, text in. Running is the guest's business (`postroj.probe.operations`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from postroj.verdict import Outcome

Answer = TypeVar("Answer")


@dataclass(frozen=True, kw_only=True)
class Query(Generic[Answer]):
    """A question to a package manager: what to run in the guest, and what its stdout means."""

    argv: tuple[str, ...]
    read: Callable[[str], Answer]


@dataclass(frozen=True, kw_only=True)
class PackageFacts:
    """What a package, in a file or installed, says of itself."""

    name: str
    version: str
    """With epoch and release, in the manager's own words: `1:2.0-3`."""
    architecture: str
    """In the manager's own words: `amd64` or `x86_64`, `all`, `noarch` or `any`."""


@dataclass(frozen=True, kw_only=True)
class PackageFiles:
    """The files and folders of an installed package, absolute paths."""

    files: tuple[str, ...]
    configuration: tuple[str, ...]
    """Those of them that keep an administrator's changes."""


@dataclass(frozen=True, kw_only=True)
class Blame:
    """Why a package manager failed: `FAIL` is the package's fault, `ERROR` ours."""

    outcome: Outcome
    sentence: str
    evidence: str
    hint: str = ""
    tool: str = ""
    """The command that was at work when its time was over: `apt-get`."""
    action: str = ""
    """What the tool was doing then: `setting up redis`; '' if its output does not show it."""

    @property
    def reason(self) -> str:
        """The sentence, and the evidence below it."""
        return "\n".join(part for part in (self.sentence, self.evidence) if part)


class PackageManager(Protocol):
    """One of the package managers; see `postroj.probe.managers.apt.apt`.

    No command asks a question: configuration that the administrator has changed is kept.
    """

    environment: Mapping[str, str]
    """For all its commands: nothing asks questions, nothing is translated."""
    purges_later: bool
    """Whether a package can be purged that has been removed before."""
    kept: tuple[str, ...]
    """Suffixes of the copies in which changed configuration outlives its package."""
    cache: tuple[str, ...]
    """Folders of what was fetched; those that a version of the manager has not are passed over."""
    list_all: str
    """A shell command that prints the paths of all installed packages."""
    print_scripts: str
    """A shell command that prints what installed packages do when they are installed."""
    logs: tuple[str, ...]
    """Log files in a guest; those that a version of the manager has not are passed over."""
    diverts: bool
    """Whether a package can put another's file elsewhere, as dpkg-divert(1) does."""

    def refresh(self) -> list[str]:
        """Fetch the package lists."""

    def install(self, paths: Sequence[str]) -> list[str]:
        """Install package files, with dependencies from the repositories."""

    def fetch(self, paths: Sequence[str]) -> list[str]:
        """Fetch into the cache what `install` would, and install nothing."""

    def reinstall(self, paths: Sequence[str]) -> list[str]:
        """Install package files of the same versions as are installed."""

    def upgrade(self, paths: Sequence[str]) -> list[str]:
        """Install package files of newer versions than are installed."""

    def downgrade(self, paths: Sequence[str]) -> list[str]:
        """Install package files of older versions than are installed."""

    def exchange(self, paths: Sequence[str]) -> list[str] | None:
        """Install other versions, or the same, of what is installed; dependencies are there.

        None if that is no quicker than `upgrade`, `downgrade` and `reinstall`.
        """

    def remove(self, names: Sequence[str]) -> list[str]:
        """Remove packages, and those that depend on them; never what they depended on."""

    def purge(self, names: Sequence[str]) -> list[str]:
        """Remove packages with their changed configuration, as far as the manager can."""

    def download(self, name: str, folder: str) -> list[str]:
        """Fetch what `install NAME` would into a folder; dependencies may come along."""

    def newer(self, paths: Sequence[str], folder: str) -> Query[tuple[str, ...]] | None:
        """Make packages of newer versions, with the same content, in a folder; read their paths.

        The command fails if they could not be installed. None if there is no way to make such.
        """

    def describe(self, path: str) -> Query[PackageFacts]:
        """Ask what a package file says of itself; the command fails if it is none."""

    def installed(self, names: Sequence[str]) -> Query[tuple[PackageFacts, ...]]:
        """Ask which of these packages are installed; the command may fail if one is not."""

    def files(self, name: str) -> Query[PackageFiles]:
        """Ask what files an installed package has."""

    def owner(self, path: str) -> Query[str]:
        """Ask for the name of the installed package that has a file, '' if none has."""

    def architectures(self) -> Query[tuple[str, ...]]:
        """Ask which architectures can be installed, the guest's own first."""

    def blame(self, status: int, output: str, names: Sequence[str]) -> Blame | None:
        """Say why a command that ended has failed, None if it has not.

        `names` are the packages under test. A status of 0 may hide a failure.
        """

    def blame_timeout(self, output: str, names: Sequence[str], seconds: float) -> Blame:
        """Explain what was going on when the time was over; fills in `tool` and `action`."""


def table(text: str) -> tuple[PackageFacts, ...]:
    """Read lines of name, version and architecture, separated by tabs."""
    rows = (line.split("\t") for line in text.splitlines())
    return tuple(
        PackageFacts(name=row[0], version=row[1], architecture=row[2])
        for row in rows
        if len(row) == 3
    )


def facts(text: str) -> PackageFacts:
    """Read the one line that `table` reads many of; all is '' if there is none."""
    return next(iter(table(text)), PackageFacts(name="", version="", architecture=""))


def words(text: str) -> tuple[str, ...]:
    """Read words, each of them once."""
    return tuple(dict.fromkeys(text.split()))
