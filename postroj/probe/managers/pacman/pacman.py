"""pacman: Arch Linux and its family."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from postroj.container.guest import FileKind
from postroj.probe.managers.base import (
    LOCAL,
    PackageFacts,
    PackageFiles,
    PackageManager,
    Query,
    Shipped,
    Solution,
    table,
    words,
)
from postroj.probe.managers.pacman import causes
from postroj.probe.package.formats import Format

if TYPE_CHECKING:
    from collections.abc import Sequence

    from postroj.probe.managers.base import Blame

QUIET = ("--noconfirm", "--noprogressbar", "--color=never")
IN_ORDER = ("sh", "-c", 'exec pacman "$@" 2>&1', "sh")
"""pacman reports a failed script on stderr, and only the lines above show whose script it is."""

# The release is raised. The content of an archive is copied into another one, never unpacked.
NEWER = r"""
folder=$1; shift
rm -rf "$folder"; mkdir -p "$folder"
cd "$folder"
number=0
for path; do
    number=$((number + 1))
    bsdtar -xOf "$path" .PKGINFO | sed 's/^pkgver = .*/&.1/' >.PKGINFO
    bsdtar -cf rest --exclude '^.PKGINFO' "@$path"
    bsdtar -cf "$number.pkg.tar" --uid 0 --gid 0 .PKGINFO @rest
done
rm rest .PKGINFO
pacman --upgrade --print --noconfirm "$folder"/*.pkg.tar >&2
ls "$folder"/*.pkg.tar
"""


HOOK_OWNER = Path(__file__).with_name("hook_owner.sh").read_text()
MISSING = 'pacman --query --check --color=never -- "$@" 2>&1'
DAMAGED = (
    'pacman --query --owns --quiet -- "$@" 2>/dev/null | sort -u'
    " | xargs --no-run-if-empty pacman --query --check --check --color=never -- 2>&1"
)
DIFFERS = re.compile(r"(?:warning|backup file): \S+: (?P<path>/.*) \((?P<how>.*)\)")
GONE = "No such file or directory"
SHIPPED = 'bsdtar -xOqf "$1" .MTREE | gzip -dc; bsdtar -xOqf "$1" .PKGINFO'
SHIPS = re.compile(r"\.(?P<path>/\S+) (?P<words>.*)")
MTREE_KINDS = {"file": FileKind.FILE, "dir": FileKind.FOLDER, "link": FileKind.LINK}


class Pacman(PackageManager):
    """The commands and the failures of pacman."""

    format = Format.PACMAN
    user_disables = True
    user_stops = True
    saved = (".pacsave", ".pacnew", ".pacorig")
    stays = LOCAL
    cache = ("/var/cache/pacman/pkg",)
    logs = ("/var/log/pacman.log",)
    bookkeeping = r"/var/lib/pacman|/var/log/pacman\.log"
    list_all = "pacman --query --list --quiet"

    def refresh(self) -> list[str]:
        """Download the package lists and upgrade everything: Arch supports no partial upgrades."""
        return [*IN_ORDER, "--sync", "--refresh", "--sysupgrade", *QUIET]

    def install(self, paths: Sequence[str]) -> list[str]:
        """Install as `pacman -U ./foo.pkg.tar.zst` does.

        A file needs no signature (`LocalFileSigLevel`), but packages from a repository do.
        """
        return [*IN_ORDER, "--upgrade", *QUIET, "--", *paths]

    def fetch(self, paths: Sequence[str]) -> list[str]:
        """Download what `install` would."""
        return [*IN_ORDER, "--upgrade", "--downloadonly", *QUIET, "--", *paths]

    def solve(self, paths: Sequence[str]) -> Query[Solution]:
        """Print what `install` would install; pacman does not tell there what it would remove."""
        argv = (*IN_ORDER, "--upgrade", "--print", "--print-format=%n\t%v\t", *QUIET, "--", *paths)
        return Query(argv=argv, read=lambda text: Solution(installs=table(text)))

    def complete(self, wanted: Sequence[PackageFacts]) -> list[str]:
        """Install these, as dependencies; a repository of pacman has one version of each."""
        names = [fact.name for fact in wanted]
        return [*IN_ORDER, "--sync", "--asdeps", "--needed", *QUIET, "--", *names]

    def everything(self) -> Query[tuple[PackageFacts, ...]]:
        """List all installed packages."""
        argv = ("sh", "-c", "pacman --query | tr ' ' '\t' | sed 's/$/\t/'")
        return Query(argv=argv, read=table)

    def remove(self, names: Sequence[str]) -> list[str]:
        """Remove, with the packages that depend on them; dependencies stay."""
        return [*IN_ORDER, "--remove", "--cascade", *QUIET, "--", *names]

    def purge(self, names: Sequence[str]) -> list[str]:
        """Remove, and leave no changed configuration as `.pacsave`."""
        return [*IN_ORDER, "--remove", "--cascade", "--nosave", *QUIET, "--", *names]

    def download(self, name: str, folder: str) -> list[str]:
        """Download a package."""
        options = ["--downloadonly", "--nodeps", "--nodeps", f"--cachedir={folder}"]
        return [*IN_ORDER, "--sync", *options, *QUIET, "--", name]

    def newer(self, paths: Sequence[str], folder: str) -> Query[tuple[str, ...]] | None:
        """Make packages of newer versions with bsdtar, which pacman's libarchive brings."""
        return Query(argv=("sh", "-ec", NEWER, "sh", folder, *paths), read=words)

    def describe(self, path: str) -> Query[PackageFacts]:
        """Read the metadata of a package file."""
        argv = ("pacman", "--query", "--info", "--color=never", "--file", path)
        return Query(argv=argv, read=lambda text: next(iter(_read_info(text)), NOTHING))

    def installed(self, names: Sequence[str]) -> Query[tuple[PackageFacts, ...]]:
        """List which of these packages are installed."""
        argv = ("pacman", "--query", "--info", "--color=never", "--", *names)
        return Query(argv=argv, read=_read_info)

    def files(self, name: str) -> Query[PackageFiles]:
        """List the files of an installed package, from pacman's database."""
        script = 'cat "/var/lib/pacman/local/$(pacman --query -- "$1" | tr " " -)/files"'
        return Query(argv=("sh", "-c", script, "sh", name), read=_read_files)

    def owner(self, path: str) -> Query[str]:
        """Name the package that owns a file."""
        return Query(argv=("pacman", "--query", "--owns", "--quiet", "--", path), read=str.strip)

    def trigger_owner(self, trigger: str) -> Query[str] | None:
        """Name the package that owns a hook."""
        argv = ("sh", "-c", HOOK_OWNER, "sh", trigger)
        return Query(argv=argv, read=lambda text: text.partition("\n")[0])

    def architectures(self) -> Query[tuple[str, ...]]:
        """List the architectures that can be installed."""
        argv = ("sh", "-c", "pacman-conf Architecture; echo any")
        return Query(argv=argv, read=words)

    def missing(self, names: Sequence[str]) -> Query[tuple[str, ...]] | None:
        """List the files of installed packages that do not exist."""
        return Query(argv=("sh", "-c", MISSING, "sh", *names), read=_read_missing)

    def damaged(self, paths: Sequence[str]) -> Query[dict[str, str]] | None:
        """List the damaged files of the packages that own `paths`."""
        return Query(argv=("sh", "-c", DAMAGED, "sh", *paths), read=_read_damage)

    def shipped(self, path: str) -> Query[Shipped] | None:
        """List what a package file ships."""
        return Query(argv=("sh", "-c", SHIPPED, "sh", path), read=_read_shipped)

    def is_lower(self, version: str, other: str) -> Query[bool] | None:
        """Ask whether a version sorts below another one."""
        argv = ("vercmp", version, other)
        return Query(argv=argv, read=lambda text: text.strip() == "-1")

    def check(self, *, with_lists: bool) -> list[str] | None:
        """Read the configuration; `pacman --query` fails if it finds nothing."""
        return ["pacman-conf"]

    def blame(self, status: int, output: str, names: Sequence[str]) -> Blame | None:
        """Explain why a command has failed, or what it has passed over."""
        return causes.blame(status, output, names)

    def blame_timeout(self, output: str, names: Sequence[str], seconds: float) -> Blame:
        """Explain what was going on when the time was over."""
        return causes.blame_timeout(output, names, seconds)


NOTHING = PackageFacts(name="", version="", architecture="")


def _read_info(text: str) -> tuple[PackageFacts, ...]:
    """Read blocks of `Name            : value`, separated by empty lines."""
    found = []
    for block in text.split("\n\n"):
        pairs = (line.partition(" : ") for line in block.splitlines())
        fields = {key.strip(): value.strip() for key, _, value in pairs}
        if name := fields.get("Name"):
            found.append(
                PackageFacts(
                    name=name,
                    version=fields.get("Version", ""),
                    architecture=fields.get("Architecture", ""),
                )
            )
    return tuple(found)


def _read_damage(text: str) -> dict[str, str]:
    """Read `warning: NAME: PATH (HOW)`; a file may differ in several ways, and in time alone."""
    found: dict[str, str] = {}
    for match in filter(None, map(DIFFERS.fullmatch, text.splitlines())):
        if match["how"] == GONE:
            found[match["path"]] = "missing"
        elif "SHA256" in match["how"] or match["how"].startswith(("Size", "File type")):
            found.setdefault(match["path"], "changed")
    return found


def _read_missing(text: str) -> tuple[str, ...]:
    return tuple(path for path, how in _read_damage(text).items() if how == "missing")


def _read_shipped(text: str) -> Shipped:
    """Read lines `./PATH type=file sha256digest=...` of mtree(5), and `backup = PATH`."""
    kinds, digests, kept = {}, {}, []
    for line in text.splitlines():
        if line.startswith("backup = "):
            kept.append(f"/{line.removeprefix('backup = ')}")
        elif (match := SHIPS.fullmatch(line)) and not match["path"].startswith("/."):
            words = dict(word.partition("=")[::2] for word in match["words"].split())
            kinds[match["path"]] = MTREE_KINDS.get(words.get("type", "file"), FileKind.OTHER)
            if match["path"].startswith("/etc/") and "sha256digest" in words:
                digests[match["path"]] = words["sha256digest"]
    return Shipped(kinds=kinds, digests=digests, kept=frozenset(kept))


def _read_files(text: str) -> PackageFiles:
    """Read the sections `%FILES%` and `%BACKUP%`, paths without the first slash."""
    sections: dict[str, list[str]] = {}
    current: list[str] = []
    for line in text.splitlines():
        if line.startswith("%") and line.endswith("%"):
            current = sections.setdefault(line.strip("%"), [])
        elif line:
            current.append(f"/{line.partition(chr(9))[0]}".rstrip("/"))
    return PackageFiles(
        files=tuple(sections.get("FILES", ())), configuration=tuple(sections.get("BACKUP", ()))
    )
