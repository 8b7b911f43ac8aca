"""Find the residue of a purged package: files, users and diversions that are new in the guest.

Dependencies were there before the package, and are purged before this is asked, so what is new is
the package's. Only what packages cannot clean up is not residue (`EXCUSED`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from postroj.container.guest import FileKind
from postroj.probe import operations
from postroj.probe.ask.question import Question
from postroj.probe.managers import MANAGERS
from postroj.verdict import CheckKind, Outcome

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from postroj.container.guest import Guest, OwnGuest, Written
    from postroj.probe.ask.checks import Answer
    from postroj.probe.compare.state import GuestState
    from postroj.probe.managers.base import PackageManager

FILES = Question(kind=CheckKind.SYSTEM, subject="no file left behind")
USERS = Question(kind=CheckKind.SYSTEM, subject="no user left behind")
DIVERSIONS = Question(kind=CheckKind.SYSTEM, subject="no diversion left behind")
LINKS = Question(kind=CheckKind.SYSTEM, subject="no dangling unit link")

SHOWN = 20
"""Maximum number of files, links or diversions to name."""

BOOKKEEPING = "|".join(manager.bookkeeping for manager in MANAGERS.values())
"""Databases and logs of all package managers, as a package may bring one beside the guest's."""

EXCUSED = re.compile(
    r"""
    /var/(tmp|cache|run|lock|backups)(/.*)?            # of the moment, or made again at will
    | /(root|home)/\..*                                # traces of commands
    | /var/log/(journal|private|lastlog|wtmp|btmp|faillog|tallylog)(/.*)?
    | /var/lib/(portables|private|dbus|pam)(/.*)?
    | /var/lib/systemd/(?!deb-systemd-).*              # the manager's own state
    | /etc/(passwd|group|shadow|gshadow|subuid|subgid)[-+]?
    | /etc/(\.pwd\.lock|\.updated|machine-id|ld\.so\.cache|mtab|mailcap)
    | /var/\.updated
    | .*/__pycache__(/.*)?
    | .*/(mimeinfo\.cache|icon-theme\.cache|giomodule\.cache|loaders\.cache|gschemas\.compiled)
    | /usr/share/(info/dir(\.old)?|mime/.*|applications/mimeinfo\.cache)
    """
    rf"| ({BOOKKEEPING})(/.*)?",
    re.VERBOSE | re.DOTALL,
)
PRIVATE = ("/var/lib", "/var/cache", "/var/log")
INTO_RUN = ("(", "-lname", "/run/*", "-o", "-lname", "/var/run/*", ")")
"""Links to what no reboot leaves, hier(7)."""
ASKED = 1000
"""Maximum number of links to ask about."""
UNIT_LINK = re.compile(r"/etc/systemd/(system|user)/(?P<rest>.+)", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Inventory:
    """What a guest has before the package is installed."""

    written: Mapping[str, Written]
    users: frozenset[str]
    diversions: frozenset[str]


def take(guest: OwnGuest, manager: PackageManager, now: GuestState) -> Inventory:
    """Take the inventory of a guest in this state."""
    return Inventory(
        written=now.written,
        users=now.snapshot.users,
        diversions=frozenset(diversions(guest, manager)),
    )


def diversions(guest: Guest, manager: PackageManager) -> dict[str, str]:
    """Return the diversions of files, each with the package that made it."""
    query = manager.diversions()
    return operations.ask(guest, query) if query else {}


def appeared(before: Mapping[str, Written], after: Mapping[str, Written]) -> set[str]:
    """Return the paths that a guest has, and did not have before."""

    def had(now: Written) -> bool:
        earlier = before.get(now.path)
        return earlier.kind is not FileKind.GONE if earlier else now.is_below

    return {path for path, now in after.items() if now.kind is not FileKind.GONE and not had(now)}


def is_of_user(path: str, written: Mapping[str, Written], new: Collection[str] = ()) -> bool:
    """Whether a file below /var lies in a folder of a user other than root that is not `new`.

    Programs of that user make and remove such files whenever they like, as a database does.
    """
    root = written["/var"].uid if "/var" in written else 0
    folder = path.rpartition("/")[0]
    while folder.startswith("/var/"):
        found = written.get(folder)
        if found and found.kind is FileKind.FOLDER and found.uid != root and folder not in new:
            return True
        folder = folder.rpartition("/")[0]
    return False


def is_private(path: str, written: Mapping[str, Written]) -> bool:
    """Whether a link leads to the data of a dynamic user, which systemd keeps, systemd.exec(5)."""
    folder, _, name = path.rpartition("/")
    is_link = path in written and written[path].kind is FileKind.LINK
    return is_link and folder in PRIVATE and f"{folder}/private/{name}" in written


def is_covered(path: str, patterns: Sequence[str]) -> bool:
    """Whether a pattern matches a path or a folder above it."""
    places = []
    while path:
        places.append(path)
        path = path.rpartition("/")[0]
    return any(fnmatchcase(place, pattern) for place in places for pattern in patterns)


class Residue:
    """The residue of a purged package, found by comparison with an earlier inventory.

    `company` are packages that were installed in one transaction with it, `may_leave` patterns of
    paths that the user lets it leave, `foreign` paths that dependencies left.
    """

    def __init__(
        self,
        guest: OwnGuest,
        manager: PackageManager,
        before: Inventory,
        company: Sequence[str] = (),
        may_leave: Sequence[str] = (),
        foreign: Collection[str] = (),
    ) -> None:
        self._guest = guest
        self._manager = manager
        self._before = before
        self._company = company
        self._may_leave = may_leave
        self._foreign = foreign

    def ask_files(self) -> Answer:
        """Name the files left behind, without the copies that the package manager makes."""
        written = self._guest.written()
        new = appeared(self._before.written, written)
        found = {
            path
            for path in new - {*self._foreign}
            if not EXCUSED.fullmatch(path)
            and not is_private(path, written)
            and not is_of_user(path, written, new)
            and not path.endswith(self._manager.saved)
        }
        left = {path for path in found if not is_covered(path, self._may_leave)}
        left -= self._harmless(left, written)
        tops = outermost(left)
        if not tops:
            may = f"none but {count(len(found))} that may be left" if found else "none"
            return Outcome.PASS, may
        faults = [path for path in tops if not self._may_stay(path, left)]
        tops = faults or tops
        lines = [*(self._describe(path, left, written) for path in tops[:SHOWN]), *more(tops)]
        if not faults:
            sentence = f"{count(len(tops))} left behind, as the distributions of this manager want"
            return Outcome.PASS, "\n".join([sentence, *lines])
        if self._company:
            others = ", ".join(self._company)
            sentence = f"{count(len(tops))} left behind, by the package or by {others}"
            return Outcome.SKIP, "\n".join([f"{sentence}, installed with it", *lines])
        return Outcome.FAIL, "\n".join([f"left behind: {count(len(tops))}", *lines])

    def ask_users(self, now: Collection[str]) -> Answer:
        """Name the users left behind of those that there are now, which is not a failure.

        Files of such a user may stay, too, and must not become those of another user. Distributions
        let packages decide, or want users to stay.
        """
        new = sorted({*now} - self._before.users)
        return Outcome.PASS, f"left behind, as packages may: {', '.join(new)}" if new else "none"

    def ask_diversions(self, packages: Collection[str]) -> Answer:
        """Name the diversions that were left, other than those of packages that are still there."""
        made = diversions(self._guest, self._manager)
        new = made.keys() - self._before.diversions
        own = sorted(line for line in new if made[line] in {*packages, ""})
        if not own:
            return Outcome.PASS, "none"
        return Outcome.FAIL, "\n".join(["left behind", *own[:SHOWN], *more(own)])

    def ask_links(self) -> Answer:
        """Name links of enabled units that no longer lead to a unit."""
        written = self._guest.written()
        new = (
            path
            for path in appeared(self._before.written, written) - {*self._foreign}
            if UNIT_LINK.fullmatch(path)
        )
        left = sorted(
            path
            for path in new
            if written[path].kind is FileKind.LINK and not self._guest.exists(path)
        )
        if not left:
            return Outcome.PASS, "none"
        lines = ["links to units that are gone", *left[:SHOWN], *more(left)]
        return Outcome.FAIL, "\n".join(lines)

    def _harmless(self, left: Collection[str], written: Mapping[str, Written]) -> set[str]:
        """Return the paths that hold nothing: links into /run, and empty homes of users that stay.

        A folder with such links only holds nothing either.
        """
        links = sorted(path for path in left if written[path].kind is FileKind.LINK)
        argv = ["find", *links[:ASKED], "-maxdepth", "0", *INTO_RUN, "-print0"]
        text = self._guest.run(argv, ok=range(256), timeout=60).text if links else ""
        passing = {*text.split("\0")} & {*links}
        folders = [path for path in left if written[path].kind is FileKind.FOLDER]
        homes = self._new_homes() if folders else set()
        for path in folders:
            inner = {other for other in left if other.startswith(f"{path}/")}
            if (inner & passing and inner <= {*passing, *folders}) or (path in homes and not inner):
                passing.add(path)
        return passing

    def _new_homes(self) -> set[str]:
        """Return the homes of the users that are left behind, passwd(5)."""
        text = self._guest.run(["cat", "/etc/passwd"], ok=range(256), timeout=30).text
        rows = [line.split(":") for line in text.splitlines()]
        return {row[5] for row in rows if len(row) > 5 and row[0] not in self._before.users}

    def _may_stay(self, top: str, left: Collection[str]) -> bool:
        """Whether a path may stay by policy: a place for data without links that lead nowhere."""
        if not re.fullmatch(self._manager.stays, top, re.DOTALL):
            return False
        inner = [path for path in left if f"{path}/".startswith(f"{top}/")]
        return all(self._guest.exists(path) for path in inner)

    def _describe(self, path: str, left: Collection[str], written: Mapping[str, Written]) -> str:
        inner = [written[other].kind for other in left if other.startswith(f"{path}/")]
        folders = inner.count(FileKind.FOLDER)
        if files := len(inner) - folders:
            return f"{path}/ with {count(files)}"
        if folders:
            return f"{path}/ with {folders} empty folder{'s'[: folders != 1]}"
        return path if self._guest.exists(path) else f"{path} (a link that leads nowhere)"


def outermost(paths: Collection[str]) -> list[str]:
    """Return those paths that lie in none of the others, sorted."""
    tops: list[str] = []
    for path in sorted(paths, key=lambda path: path.split("/")):
        if not tops or not path.startswith(f"{tops[-1]}/"):
            tops.append(path)
    return tops


def more(texts: Sequence[str]) -> list[str]:
    """Return a line with the number of texts that are not shown; none if all are shown."""
    return [f"and {len(texts) - SHOWN} more"] if len(texts) > SHOWN else []


def count(number: int) -> str:
    """Format a number of files and folders."""
    return f"{number} file{'s'[: number != 1]}"
