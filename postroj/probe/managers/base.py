"""The base class of package managers: command lines, questions, and whom to blame for a failure.

Pure: argument lists out, text in. `postroj.probe.operations` runs them in a guest.
"""

from __future__ import annotations

import copy
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Generic, TypeVar

from postroj.container.guest import FileKind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Self

    from postroj.probe.package.formats import Format
    from postroj.verdict import Outcome

Answer = TypeVar("Answer")

LOCAL = r"/(?:etc|home|root|srv|var)(?:/.*)?"
"""Where data, logs and configuration are; what scripts make there stays without a purge."""
DAMAGE = re.compile(r"(?P<how>missing|\S{8,9}) +(?:[a-z] )?(?P<path>/.*?)(?: \([^)]*\))?")
KINDS = {"-": FileKind.FILE, "h": FileKind.FILE, "d": FileKind.FOLDER, "l": FileKind.LINK}


@dataclass(frozen=True, kw_only=True)
class Query(Generic[Answer]):
    """A question to a package manager: what to run in the guest, and how to read its stdout."""

    argv: tuple[str, ...]
    read: Callable[[str], Answer]


@dataclass(frozen=True, kw_only=True)
class PackageFacts:
    """The metadata of a package, in a file or installed."""

    name: str
    version: str
    """With epoch and release, as the manager writes it: `1:2.0-3`."""
    architecture: str
    """As the manager writes it: `amd64` or `x86_64`, `all`, `noarch` or `any`."""


@dataclass(frozen=True, kw_only=True)
class PackageFiles:
    """The files and folders of an installed package, absolute paths."""

    files: tuple[str, ...]
    configuration: tuple[str, ...]
    """The files that keep an administrator's changes."""


@dataclass(frozen=True, kw_only=True)
class Solution:
    """What an installation would change, as the package manager has solved it."""

    installs: tuple[PackageFacts, ...]
    """Packages that would be installed, or replaced by another version."""
    removes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Shipped:
    """The files in a package file, absolute paths."""

    kinds: Mapping[str, FileKind]
    digests: Mapping[str, str]
    """SHA-256 of regular files below `/etc`, in hexadecimal."""
    kept: frozenset[str]
    """The configuration files in which the manager keeps an administrator's changes."""


@dataclass(frozen=True, kw_only=True)
class Blame:
    """Why a package manager failed: `FAIL` blames the package, `ERROR` anything else."""

    outcome: Outcome
    sentence: str
    evidence: str
    hint: str = ""
    tool: str = ""
    """The command that was running when its time was over: `apt-get`."""
    action: str = ""
    """What the tool was doing then: `setting up redis`; '' if its output does not show it."""
    is_refusal: bool = False
    """Whether the manager refused to begin because of other packages, and has changed nothing."""
    trigger: str = ""
    """The trigger of another package, or the hook, that failed; '' if it was something else.

    The package under test is to blame only with proof: the hook is its own, or the evidence names
    one of its files. Otherwise the outcome stands: `ERROR`, or `PASS` if the manager has gone on.
    """

    @property
    def reason(self) -> str:
        """The sentence, followed by the evidence."""
        return "\n".join(part for part in (self.sentence, self.evidence) if part)


class PackageManager(ABC):
    """One package manager; the defaults fit most of them.

    No command asks a question: configuration that the administrator has changed is kept.
    """

    environment: Mapping[str, str] = MappingProxyType({"LC_ALL": "C.UTF-8"})
    """For all commands: nothing asks questions, nothing is translated."""
    format: Format
    """The format of the package files that it installs."""
    purges_later: bool = False
    """Whether it can purge a package that was removed before."""
    instead_of_upgrade: str = ""
    """What tests an upgrade without an older package, if no newer one can be made."""
    stays: str = r"(?!)"
    """A regular expression of what may stay after a removal, by the policy of its distributions."""
    recommends: bool = True
    """Whether packages are installed with their weak dependencies."""
    starts_units: bool = False
    """Whether packages start their units when they are installed, by the distribution's policy."""
    user_disables: bool = False
    """Whether users disable what they have enabled before they remove a package."""
    user_stops: bool = False
    """Whether they stop it as well."""
    saved: tuple[str, ...] = ()
    """Suffixes of the copies in which changed configuration outlives its package."""
    cache: tuple[str, ...]
    """Folders of downloaded files; a version of the manager may lack some of them."""
    logs: tuple[str, ...]
    """Log files in a guest; a version of the manager may lack some of them."""
    bookkeeping: str
    """A regular expression of its databases and logs, files and folders, which are no residue."""
    list_all: str = ":"
    """A shell command that prints the paths of all installed packages."""
    sources: str = "(?!)"
    """A regular expression of the paths that only `check` with lists reads."""
    debconf: str = ""
    """Path of a file of the package `{}` if it asks questions; '' if none ever does."""
    list_rules: str = ":"
    """A shell command that prints rules by which files are put elsewhere or owned by others."""

    def without_recommends(self) -> Self:
        """Return this manager without weak dependencies."""
        other = copy.copy(self)
        other.recommends = False
        return other

    @abstractmethod
    def refresh(self) -> list[str]:
        """Download the package lists; fail if one of them is not available."""

    @abstractmethod
    def install(self, paths: Sequence[str]) -> list[str]:
        """Install package files, with dependencies from the repositories."""

    @abstractmethod
    def fetch(self, paths: Sequence[str]) -> list[str]:
        """Download into the cache what `install` would, and install nothing."""

    @abstractmethod
    def solve(self, paths: Sequence[str]) -> Query[Solution]:
        """Tell what `install` would change, and change nothing; the command may fail."""

    @abstractmethod
    def complete(self, wanted: Sequence[PackageFacts]) -> list[str]:
        """Install packages of a solution from the repositories, as dependencies of others."""

    def clean_up(self) -> list[str] | None:
        """Remove packages that were only dependencies of others, and no longer are.

        None if that is not what users of this manager do before they purge.
        """
        return None

    @abstractmethod
    def everything(self) -> Query[tuple[PackageFacts, ...]]:
        """List all installed packages; pacman does not tell their architectures."""

    def reinstall(self, paths: Sequence[str]) -> list[str]:
        """Install package files of the versions that are installed."""
        return self.install(paths)

    def upgrade(self, paths: Sequence[str]) -> list[str]:
        """Install package files of newer versions than are installed."""
        return self.install(paths)

    def downgrade(self, paths: Sequence[str]) -> list[str]:
        """Install package files of older versions than are installed."""
        return self.install(paths)

    def exchange(self, paths: Sequence[str]) -> list[str] | None:
        """Install the same versions again; None if that is no quicker than `reinstall`."""
        return None

    @abstractmethod
    def remove(self, names: Sequence[str]) -> list[str]:
        """Remove packages and those that depend on them, but none of their dependencies."""

    def purge(self, names: Sequence[str]) -> list[str]:
        """Remove packages with their changed configuration, as far as the manager can."""
        return self.remove(names)

    @abstractmethod
    def download(self, name: str, folder: str) -> list[str]:
        """Download the package `name` into a folder; dependencies may come with it."""

    def newer(self, paths: Sequence[str], folder: str) -> Query[tuple[str, ...]] | None:
        """Make packages of newer versions with the same content in a folder; read their paths.

        The command fails if they could not be installed. None if such packages cannot be made.
        """
        return None

    @abstractmethod
    def describe(self, path: str) -> Query[PackageFacts]:
        """Read the metadata of a package file; the command fails if it is not a package."""

    @abstractmethod
    def installed(self, names: Sequence[str]) -> Query[tuple[PackageFacts, ...]]:
        """List which of these packages are installed; the command may fail if one is not."""

    def purgeable(self, names: Sequence[str]) -> Query[tuple[str, ...]]:
        """List which of these packages `purge` can name: installed ones, by default."""
        query = self.installed(names)
        return Query(argv=query.argv, read=lambda text: tuple(f.name for f in query.read(text)))

    @abstractmethod
    def files(self, name: str) -> Query[PackageFiles]:
        """List the files of an installed package."""

    @abstractmethod
    def owner(self, path: str) -> Query[str]:
        """Name the installed package that owns a file; '' if none does."""

    def companions(self, name: str) -> Query[tuple[str, ...]] | None:
        """Name packages of the repositories that depend on an installed one of the same source.

        Those that are installed are left out. None if the manager cannot tell.
        """
        return None

    @abstractmethod
    def architectures(self) -> Query[tuple[str, ...]]:
        """List the architectures that can be installed, the guest's own first."""

    def trigger_owner(self, trigger: str) -> Query[str] | None:
        """Name the package that owns a trigger, if the manager reports it without its package."""
        return None

    def not_started(self, output: str) -> tuple[str, ...]:
        """Read which units scripts of packages meant to start, but did not, as they were off."""
        return ()

    def switch(self, names: Sequence[str]) -> Query[str] | None:
        """Name the setting of packages that makes their scripts disable units; '' if none does."""
        return None

    def diversions(self) -> Query[dict[str, str]] | None:
        """List the files that are put elsewhere, as dpkg-divert(1) does.

        Each line is joined to the package that put the file there; '' if the administrator did.
        None if the manager cannot do that.
        """
        return None

    def missing(self, names: Sequence[str]) -> Query[tuple[str, ...]] | None:
        """List the files of installed packages that do not exist; the command may fail.

        None if the manager cannot tell; the same holds for the next four.
        """
        return None

    def damaged(self, paths: Sequence[str]) -> Query[dict[str, str]] | None:
        """List the damaged files of the packages that own `paths`, each with how; it may fail."""
        return None

    def shipped(self, path: str) -> Query[Shipped] | None:
        """List what a package file ships."""
        return None

    def is_lower(self, version: str, other: str) -> Query[bool] | None:
        """Ask whether a version sorts below another one."""
        return None

    def check(self, *, with_lists: bool) -> list[str] | None:
        """Fail if the manager cannot read its own databases, configuration and package lists."""
        return None

    def failing_hooks(self, paths: Sequence[str]) -> Query[tuple[str, ...]] | None:
        """Run the hooks of the manager that are among these files, and list those that fail.

        None if the manager has no such hooks, or removes them with their package.
        """
        return None

    @abstractmethod
    def blame(self, status: int, output: str, names: Sequence[str]) -> Blame | None:
        """Explain why a finished command has failed; None if it has not.

        `names` are the packages under test. A status of 0 may hide a failure.
        """

    @abstractmethod
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
    """Read one line of such a table; all fields are '' if there is none."""
    return next(iter(table(text)), PackageFacts(name="", version="", architecture=""))


def damage(text: str) -> dict[str, str]:
    """Read the lines of `dpkg --verify` and `rpm --verify`: what differs, and a path."""
    return {
        match["path"]: "missing" if match["how"] == "missing" else "changed"
        for line in text.splitlines()
        if (match := DAMAGE.fullmatch(line))
    }


def missing(text: str) -> tuple[str, ...]:
    """Read those of these lines that are about a missing file."""
    return tuple(path for path, how in damage(text).items() if how == "missing")


def kind_of(mode: str) -> FileKind:
    """Return the type that the first letter of a mode like `drwxr-xr-x` stands for."""
    return KINDS.get(mode[:1], FileKind.OTHER)


def words(text: str) -> tuple[str, ...]:
    """Read words, each one once."""
    return tuple(dict.fromkeys(text.split()))
