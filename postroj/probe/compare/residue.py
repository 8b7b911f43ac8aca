"""What a purged package leaves behind: files, users and diversions that the guest had not before.

Names are read from the host, without following a link of the guest. What another package owns by
now, or its scripts make, is not left behind, nor is what no package can help (`EXCUSED`).
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
"""So many of what was left are named."""

DEEPEST = 64
"""Folders within folders, below which nobody looks: a package may have made them without end."""

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
    """What a guest has before a package comes."""

    names: frozenset[str]
    users: frozenset[str]
    diversions: frozenset[str]


def take(guest: Guest, manager: PackageManager) -> Inventory:
    """Make an inventory."""
    users = snapshot.take(guest).users
    diverted = frozenset(diversions(guest, manager))
    return Inventory(names=names(guest), users=users, diversions=diverted)


def diversions(guest: Guest, manager: PackageManager) -> dict[str, str]:
    """Return the diversions of files, each with the package that made it."""
    query = manager.diversions()
    return operations.ask(guest, query) if query else {}


def names(guest: Guest) -> frozenset[str]:
    """Paths of all files and folders of a guest, but those at the top that do not last.

    :raises GuestError: if it has ended.
    """
    files = guest.walk(deepest=DEEPEST)
    return frozenset(file.path for file in files if file.path not in VOLATILE)


class Residue:
    """What is left once a package was purged."""

    def __init__(
        self, guest: Guest, manager: PackageManager, before: Inventory, own: Belongings
    ) -> None:
        self._guest = guest
        self._manager = manager
        self._before = before
        self._own = own

    def ask_files(self, packages: Sequence[str]) -> Answer:
        """Name what was left, without the copies that the package manager keeps.

        Where dependencies came along, and stay, only what bears a name of the package's is its.
        """
        new = names(self._guest) - self._before.names
        left = self._unowned(new)
        has_company = len(left) < len(new)
        left = {p for p in left if not EXCUSED.fullmatch(p) and not p.endswith(self._manager.saved)}
        claimed = self._claimed(outermost(left))
        left = {p for p in left if not any(f"{p}/".startswith(f"{top}/") for top in claimed)}
        words = {*packages, *(unit.partition(".")[0].rstrip("@") for unit in self._own.units)}
        users = snapshot.take(self._guest).users - self._before.users
        words |= users - self._claimed(users)
        if has_company:
            own = self._own.paths - self._before.names - {"/"}
            left = attributed(left, own, words) | {path for path in left if self._is_lost(path)}
        tops = outermost(left)
        claimed = self._claimed(tops) if has_company else set()
        tops = [path for path in tops if path not in claimed]
        if not tops:
            return Outcome.PASS, "none"
        lines = [self._described(path, left) for path in tops[:SHOWN]]
        sentence = f"left behind: {count(len(tops))}"
        return Outcome.FAIL, "\n".join([sentence, *lines, *more(tops)])

    def ask_users(self) -> Answer:
        """Name the users that were left, which is no failure.

        Files of theirs may be left, too, and must not become another user's. Each distribution
        leaves it to its packages, or wants them to stay.
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
        """Name links of enabled units that lead nowhere any more."""
        new = names(self._guest) - self._before.names
        left = sorted(path for path in new if UNIT_LINK.fullmatch(path) and self._dangles(path))
        if not left:
            return Outcome.PASS, "none"
        lines = ["links to units that are gone", *left[:SHOWN], *more(left)]
        return Outcome.FAIL, "\n".join(lines)

    def _unowned(self, paths: Collection[str]) -> set[str]:
        """Those that no installed package has."""
        if not paths:
            return set()
        plain = sorted(path for path in paths if "\n" not in path)
        text = b"".join(os.fsencode(path) + b"\n" for path in plain)
        argv = ["sh", "-c", UNOWNED % self._manager.list_all]
        said = operations.whole(self._guest, argv, stdin=text, timeout=60).stdout
        return {os.fsdecode(line) for line in said.split(b"\n") if line}

    def _claimed(self, names: Collection[str]) -> set[str]:
        """Those paths or users that a package which is still there has made, or would have."""
        if not names:
            return set()
        text = "".join(f"{name}\n" for name in sorted(names) if "\n" not in name)
        argv = ["sh", "-c", CLAIMED % self._manager.print_scripts]
        said = operations.whole(
            self._guest, argv, stdin=os.fsencode(text), ok=range(256), timeout=60
        )
        return {os.fsdecode(line) for line in said.stdout.split(b"\n") if line}

    def _is_lost(self, path: str) -> bool:
        """Whether it is an alternative whose program is gone, whatever its name is."""
        return path.startswith("/etc/alternatives/") and self._dangles(path)

    def _described(self, path: str, left: Collection[str]) -> str:
        inner = sum(other.startswith(f"{path}/") for other in left)
        if inner:
            return f"{path}/ with {count(inner)}"
        return f"{path} (a link that leads nowhere)" if self._dangles(path) else path

    def _dangles(self, path: str) -> bool:
        return not self._guest.exists(path)


def attributed(paths: Iterable[str], own: Collection[str], words: Iterable[str]) -> set[str]:
    """Those that lie in one of `own`, or bear one of the words: `at` is in `at.log`, not `data`."""
    known = "|".join(re.escape(word) for word in words if word)
    bearing = re.compile(rf"(?<![A-Za-z0-9])(?:{known})(?![A-Za-z0-9])")
    return {
        path
        for path in paths
        if any(place in own for place in _way(path)) or (known and bearing.search(path))
    }


def _way(path: str) -> Iterator[str]:
    """A path, and the folders in which it lies, but `/`."""
    while path:
        yield path
        path = path.rpartition("/")[0]


def outermost(paths: Collection[str]) -> list[str]:
    """Those of the paths that lie in no other one, sorted."""
    tops: list[str] = []
    for path in sorted(paths, key=lambda path: path.split("/")):
        if not tops or not path.startswith(f"{tops[-1]}/"):
            tops.append(path)
    return tops


def more(texts: Sequence[str]) -> list[str]:
    """Say how many of the texts are not shown; nothing if all are."""
    return [f"and {len(texts) - SHOWN} more"] if len(texts) > SHOWN else []


def count(number: int) -> str:
    """Say how many files, folders among them."""
    return f"{number} file{'s'[: number != 1]}"
