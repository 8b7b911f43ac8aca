"""Find the residue of a purged package: files, users and diversions that are new in the guest.

Paths are read from the host, and links of the guest are not followed. What another package owns or
creates by its scripts is not residue, and neither is what packages cannot clean up (`EXCUSED`).
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from postroj.container.guest import VOLATILE
from postroj.probe import operations
from postroj.probe.ask.question import Question
from postroj.probe.discover import snapshot
from postroj.probe.managers import MANAGERS
from postroj.verdict import CheckKind, Outcome

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from postroj.container.guest import Guest
    from postroj.probe.ask.checks import Answer
    from postroj.probe.compare.gone import Belongings
    from postroj.probe.managers.base import PackageManager

FILES = Question(kind=CheckKind.SYSTEM, subject="no file left behind")
USERS = Question(kind=CheckKind.SYSTEM, subject="no user left behind")
DIVERSIONS = Question(kind=CheckKind.SYSTEM, subject="no diversion left behind")
LINKS = Question(kind=CheckKind.SYSTEM, subject="no dangling unit link")

SHOWN = 20
"""Maximum number of files, links or diversions to name."""

DEEPEST = 64
"""Depth at which the search stops: a package may create endlessly nested folders."""

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
UNIT_LINK = re.compile(r"/etc/systemd/(system|user)/(?P<rest>.+)", re.DOTALL)

# Patterns come first, names from stdin. Where /lib is a link into /usr, lists may have it unlinked.
UNOWNED = r"""
set -eu
names=$(mktemp)
cat > "$names"
merged=; if [ -L /lib ]; then merged='s#^/(lib|lib32|lib64|bin|sbin)/#/usr/\1/#'; fi
{ %s; } | sed -E -e 's#(.)/$#\1#' -e "$merged" | grep -Fxvf - "$names" || [ $? = 1 ]
rm "$names"
"""

# What one of them creates belongs to it, and so it is no wonder that it stays.
CLAIMED = r"""
set -u
names=$(mktemp)
cat > "$names"
{ %s; cat /usr/lib/sysusers.d/*.conf /usr/lib/tmpfiles.d/*.conf; } 2>/dev/null \
    | grep -a -o -w -F -f "$names" | sort -u
rm "$names"
"""


@dataclass(frozen=True, kw_only=True)
class Inventory:
    """What a guest has before the package is installed."""

    names: frozenset[str]
    users: frozenset[str]
    diversions: frozenset[str]


def take(guest: Guest, manager: PackageManager) -> Inventory:
    """Take the inventory of a guest."""
    users = snapshot.take(guest).users
    diverted = frozenset(diversions(guest, manager))
    return Inventory(names=names(guest), users=users, diversions=diverted)


def diversions(guest: Guest, manager: PackageManager) -> dict[str, str]:
    """Return the diversions of files, each with the package that made it."""
    query = manager.diversions()
    return operations.ask(guest, query) if query else {}


def names(guest: Guest) -> frozenset[str]:
    """Return the paths of all files and folders of a guest, except volatile ones at the top.

    :raises GuestError: if the guest has ended.
    """
    files = guest.walk(deepest=DEEPEST)
    return frozenset(file.path for file in files if file.path not in VOLATILE)


class Residue:
    """The residue of a purged package, found by comparison with an earlier inventory."""

    def __init__(
        self, guest: Guest, manager: PackageManager, before: Inventory, belongings: Belongings
    ) -> None:
        self._guest = guest
        self._manager = manager
        self._before = before
        self._belongings = belongings

    def ask_files(self, packages: Sequence[str]) -> Answer:
        """Name the files left behind, without the copies that the package manager makes.

        If dependencies were installed too, and stay, only files that lie in a folder of the package
        or bear one of its names are attributed to it.
        """
        new = names(self._guest) - self._before.names
        left = self._unowned(new)
        has_company = len(left) < len(new)
        left = {p for p in left if not EXCUSED.fullmatch(p) and not p.endswith(self._manager.saved)}
        claimed = self._claimed(outermost(left))
        left = {p for p in left if not any(f"{p}/".startswith(f"{top}/") for top in claimed)}
        words = {
            *packages,
            *(unit.partition(".")[0].rstrip("@") for unit in self._belongings.units),
        }
        users = snapshot.take(self._guest).users - self._before.users
        words |= users - self._claimed(users)
        if has_company:
            folders = self._belongings.paths - self._before.names - {"/"}
            left = attributed(left, folders, words) | {path for path in left if self._is_lost(path)}
        tops = outermost(left)
        claimed = self._claimed(tops) if has_company else set()
        tops = [path for path in tops if path not in claimed]
        faults = [path for path in tops if not self._may_stay(path, left)]
        if not tops:
            return Outcome.PASS, "none"
        shown = faults or tops
        lines = [self._describe(path, left) for path in shown[:SHOWN]]
        may = "" if faults else ", as the distributions of this package manager want data to stay"
        sentence = f"left behind{may}: {count(len(shown))}"
        outcome = Outcome.FAIL if faults else Outcome.PASS
        return outcome, "\n".join([sentence, *lines, *more(shown)])

    def ask_users(self) -> Answer:
        """Name the users left behind, which is not a failure.

        Files of such a user may stay, too, and must not become those of another user. Distributions
        let packages decide, or want users to stay.
        """
        users = snapshot.take(self._guest).users - self._before.users
        new = sorted(users - self._claimed(users))
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
        new = names(self._guest) - self._before.names
        left = sorted(path for path in new if UNIT_LINK.fullmatch(path) and self._dangles(path))
        if not left:
            return Outcome.PASS, "none"
        lines = ["links to units that are gone", *left[:SHOWN], *more(left)]
        return Outcome.FAIL, "\n".join(lines)

    def _may_stay(self, top: str, left: Collection[str]) -> bool:
        """Whether a path may stay by policy: a place for data without links that lead nowhere."""
        if not re.fullmatch(self._manager.stays, top, re.DOTALL):
            return False
        inner = [path for path in left if f"{path}/".startswith(f"{top}/")]
        return not any(self._dangles(path) for path in inner)

    def _unowned(self, paths: Collection[str]) -> set[str]:
        """Return those paths that no installed package owns."""
        if not paths:
            return set()
        printable = sorted(path for path in paths if "\n" not in path)
        text = b"".join(os.fsencode(path) + b"\n" for path in printable)
        argv = ["sh", "-c", UNOWNED % self._manager.list_all]
        output = operations.whole(self._guest, argv, stdin=text, timeout=60).stdout
        return {os.fsdecode(line) for line in output.split(b"\n") if line}

    def _claimed(self, names: Collection[str]) -> set[str]:
        """Return those paths or users that an installed package has created, or would create."""
        if not names:
            return set()
        text = "".join(f"{name}\n" for name in sorted(names) if "\n" not in name)
        argv = ["sh", "-c", CLAIMED % self._manager.print_scripts]
        done = operations.whole(
            self._guest, argv, stdin=os.fsencode(text), ok=range(256), timeout=60
        )
        return {os.fsdecode(line) for line in done.stdout.split(b"\n") if line}

    def _is_lost(self, path: str) -> bool:
        """Whether a path is an alternative whose program is gone, whatever its name."""
        return path.startswith("/etc/alternatives/") and self._dangles(path)

    def _describe(self, path: str, left: Collection[str]) -> str:
        inner = sum(other.startswith(f"{path}/") for other in left)
        if inner:
            return f"{path}/ with {count(inner)}"
        return f"{path} (a link that leads nowhere)" if self._dangles(path) else path

    def _dangles(self, path: str) -> bool:
        return not self._guest.exists(path)


def attributed(paths: Iterable[str], folders: Collection[str], words: Iterable[str]) -> set[str]:
    """Return paths that lie in one of the folders or contain one of the words.

    Words are delimited: `at` is in `at.log`, but not in `data`.
    """
    known = "|".join(re.escape(word) for word in words if word)
    containing = re.compile(rf"(?<![A-Za-z0-9])(?:{known})(?![A-Za-z0-9])")
    return {
        path
        for path in paths
        if any(place in folders for place in _ancestry(path)) or (known and containing.search(path))
    }


def _ancestry(path: str) -> Iterator[str]:
    """Yield a path and the folders above it, except `/`."""
    while path:
        yield path
        path = path.rpartition("/")[0]


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
