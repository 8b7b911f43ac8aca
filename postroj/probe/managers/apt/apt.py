"""apt and dpkg: Debian, Ubuntu and their family."""

from __future__ import annotations

import re
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from postroj.probe.managers.apt import causes, switches
from postroj.probe.managers.base import (
    PackageFacts,
    PackageFiles,
    PackageManager,
    Query,
    Shipped,
    Solution,
    damage,
    kind_of,
    missing,
    table,
    words,
)
from postroj.probe.package.formats import Format

if TYPE_CHECKING:
    from collections.abc import Sequence

    from postroj.probe.managers.base import Blame

INSTALLED = "${db:Status-Status}\t${Package}\t${Version}\t${Architecture}\n"
CONFIGURATION = "configuration:"
"""A line between the list of all files and that of configuration files."""

INSTALLED_ONLY = (
    "--option=Dir::State::lists=/nonexistent",
    "--option=Dir::Cache::pkgcache=",
    "--option=Dir::Cache::srcpkgcache=",
)
"""Have apt read only what is installed, which is ten times as fast as with all package lists."""
CONFFILES = ("--force-confdef", "--force-confold")

FILES = (
    f'dpkg-query --listfiles "$1"; echo {CONFIGURATION};'
    " dpkg-query --show --showformat='${Conffiles}\n' \"$1\""
)
ARCHITECTURES = "dpkg --print-architecture; dpkg --print-foreign-architectures; echo all"
# If /lib is a link into /usr, dpkg lists a path as its package has it.
OWNER = 'for path in "$1" "/usr$1" "${1#/usr}"; do dpkg-query --search "$path" && break; done'
COMPANIONS = r"""
source=$(dpkg-query --show --showformat='${source:Package}\n' "$1" | head -n 1)
for what in recommends suggests conflicts breaks replaces enhances; do
    set -- "$@" "--no-$what"
done
apt-cache rdepends "$@" | sed -n '3,$s/^[ |]*//p' | sort --unique |
    xargs --no-run-if-empty apt-cache show --no-all-versions |
    awk -v wanted="$source" '
        /^Package: / { name = source = $2 }
        /^Source: / { source = $2 }
        /^$/ && source == wanted { print name }' |
    while read -r name; do
        dpkg-query --show --showformat='${db:Status-Status}\n' "$name" 2> /dev/null |
            grep --quiet '^installed$' || echo "$name"
    done
"""
DOWNLOAD = 'cd "$1" && shift && exec "$@"'

PURGE = Path(__file__).with_name("purge.sh").read_text()
COMPLETE = Path(__file__).with_name("complete.sh").read_text()
INSTALLS = re.compile(
    r"^Inst (?P<name>\S+) (?:\[\S+\] )?\((?P<version>\S+) .*\[(?P<architecture>[^]\s]+)\]\)",
    re.MULTILINE,
)
REMOVES = re.compile(r"^Remv (?P<name>\S+)", re.MULTILINE)

# All packages are raised together, because some depend on an exact version of another one.
NEWER = r"""
folder=$1; shift
rm -rf "$folder"; mkdir -p "$folder"
raise='s/^Version: *\(.*[^ ]\) *$/Version: \1+postroj1/'
for path; do
    name=$(dpkg-deb --field "$path" Package) version=$(dpkg-deb --field "$path" Version)
    exact="\(^\|[ ,|]\)\($name\(:any\)\?\) *(= *\($version\))"
    raise="$raise;s/$(echo "$exact" | sed 's/[.]/[.]/g')/\1\2 (= \4+postroj1)/g"
done
number=0
for path; do
    number=$((number + 1))
    tree=$folder/$number
    dpkg-deb --raw-extract "$path" "$tree"
    sed -i "$raise" "$tree/DEBIAN/control"
    dpkg-deb -Znone --nocheck --build "$tree" "$tree.deb" >&2
    rm -r "$tree"
done
apt-get --quiet --simulate --no-remove install "$folder"/*.deb >&2
ls "$folder"/*.deb
"""


SHIPPED = Path(__file__).with_name("shipped.sh").read_text()
HOOKS = Path(__file__).with_name("hooks.sh").read_text()
CONTENT = re.compile(
    r"(?P<mode>\S{10}) \S+ +\d+ \S+ \S+ \.?(?P<path>/.*?)(?: -> .*| link to .*)?/?"
)
DAMAGED = (
    'dpkg-query --search -- "$@" 2>/dev/null | sed "/^diversion by /d; s/: .*//; s/, /\\n/g"'
    " | sort -u | xargs --no-run-if-empty dpkg --verify"
)


class Apt(PackageManager):
    """The commands and the failures of apt-get and dpkg."""

    environment = MappingProxyType(
        {
            "DEBIAN_FRONTEND": "noninteractive",
            "DEBIAN_PRIORITY": "critical",
            "UCF_FORCE_CONFFOLD": "1",
            "LC_ALL": "C.UTF-8",
        }
    )
    format = Format.DEB
    purges_later = True
    starts_units = True
    user_disables = True
    saved = (".dpkg-old", ".dpkg-dist", ".dpkg-new", ".ucf-old", ".ucf-dist")
    cache = ("/var/cache/apt/archives",)
    logs = ("/var/log/dpkg.log", "/var/log/apt/history.log", "/var/log/apt/term.log")
    bookkeeping = r"/var/lib/(dpkg|apt|aptitude|ucf)|/var/log/(apt|dpkg\.log|alternatives\.log)"
    list_all = "cat /var/lib/dpkg/info/*.list"
    sources = r"/etc/apt/.*|/var/lib/apt/lists/(?!lock|partial|auxfiles).*"
    debconf = "/var/lib/dpkg/info/{}.config"
    list_rules = "dpkg-divert --list; dpkg-statoverride --list"

    def refresh(self) -> list[str]:
        """Download the package lists without translations; fail if one is not available."""
        options = ["APT::Update::Error-Mode=any", "Acquire::Languages=none"]
        return ["apt-get", "--quiet", *(f"--option={o}" for o in options), "update"]

    def install(self, paths: Sequence[str]) -> list[str]:
        """Install package files as `apt install ./foo.deb` does."""
        return self._install(*paths)

    def fetch(self, paths: Sequence[str]) -> list[str]:
        """Download what `install` would, without retries: `install` follows and retries."""
        return self._install("--download-only", "--option=Acquire::Retries=0", *paths)

    def solve(self, paths: Sequence[str]) -> Query[Solution]:
        """Simulate `install`."""
        return Query(argv=tuple(self._do("install", "--simulate", *paths)), read=_read_solution)

    def complete(self, wanted: Sequence[PackageFacts]) -> list[str]:
        """Install exactly these, and mark those that are new as automatically installed."""
        argv = self._do("install", "--no-install-recommends", "--no-remove")
        exact = [f"{fact.name}={fact.version}" for fact in wanted]
        mark = " ".join(["apt-mark", *INSTALLED_ONLY])
        return ["sh", "-ec", COMPLETE, "sh", mark, str(len(exact)), *exact, *argv]

    def clean_up(self) -> list[str] | None:
        """Remove what was automatically installed and nothing depends on; configuration stays."""
        return self._do(*INSTALLED_ONLY, "autoremove")

    def everything(self) -> Query[tuple[PackageFacts, ...]]:
        """List all installed packages."""
        return self.installed(())

    def reinstall(self, paths: Sequence[str]) -> list[str]:
        """Install the versions that are installed."""
        return self._install("--reinstall", *paths)

    def downgrade(self, paths: Sequence[str]) -> list[str]:
        """Install older versions."""
        return self._install("--allow-downgrades", *paths)

    def exchange(self, paths: Sequence[str]) -> list[str] | None:
        """Call dpkg alone, because apt spends more time on its lists than dpkg on a package."""
        return ["dpkg", *CONFFILES, "--install", *paths]

    def remove(self, names: Sequence[str]) -> list[str]:
        """Remove; dependencies and configuration stay."""
        return self._do("remove", *names)

    def purge(self, names: Sequence[str]) -> list[str]:
        """Remove with all configuration, also of packages that were removed before."""
        return ["sh", "-c", PURGE, "sh", " ".join(self._do("purge")), *names]

    def download(self, name: str, folder: str) -> list[str]:
        """Download a package; as root, because apt's own user cannot write to the folder."""
        argv = ["apt-get", "--quiet", "--option=APT::Sandbox::User=root", "download", name]
        return ["sh", "-c", DOWNLOAD, "sh", folder, *argv]

    def newer(self, paths: Sequence[str], folder: str) -> Query[tuple[str, ...]] | None:
        """Make packages of newer versions with the same dependencies."""
        return Query(argv=("sh", "-ec", NEWER, "sh", folder, *paths), read=words)

    def describe(self, path: str) -> Query[PackageFacts]:
        """Read the metadata of a package file."""
        argv = ("dpkg-deb", "--field", path, "Package", "Version", "Architecture")
        return Query(argv=argv, read=_read_fields)

    def installed(self, names: Sequence[str]) -> Query[tuple[PackageFacts, ...]]:
        """List which of these packages are installed."""
        argv = ("dpkg-query", "--show", "--showformat", INSTALLED, *names)
        return Query(argv=argv, read=_read_installed)

    def purgeable(self, names: Sequence[str]) -> Query[tuple[str, ...]]:
        """List which of these packages dpkg knows: without conffiles and postrm, it forgets one."""
        argv = ("dpkg-query", "--show", "--showformat", INSTALLED, *names)
        return Query(argv=argv, read=_read_known)

    def files(self, name: str) -> Query[PackageFiles]:
        """List the files of an installed package."""
        return Query(argv=("sh", "-c", FILES, "sh", name), read=_read_files)

    def owner(self, path: str) -> Query[str]:
        """Name the package that owns a file."""
        return Query(argv=("sh", "-c", OWNER, "sh", path), read=_read_owner)

    def companions(self, name: str) -> Query[tuple[str, ...]] | None:
        """Name packages that are built of the same source and depend on a package."""
        return Query(argv=("sh", "-c", COMPANIONS, "sh", name), read=words)

    def architectures(self) -> Query[tuple[str, ...]]:
        """List the architectures that can be installed."""
        return Query(argv=("sh", "-c", ARCHITECTURES), read=words)

    def not_started(self, output: str) -> tuple[str, ...]:
        """Read which units deb-systemd-invoke did not start, as they were not enabled."""
        return tuple(dict.fromkeys(causes.NOT_STARTED.findall(output)))

    def diversions(self) -> Query[dict[str, str]] | None:
        """List the diversions of dpkg."""
        argv = ("env", "LC_ALL=C.UTF-8", "dpkg-divert", "--list")
        return Query(argv=argv, read=_read_diversions)

    def missing(self, names: Sequence[str]) -> Query[tuple[str, ...]] | None:
        """List the files of installed packages that do not exist."""
        return Query(argv=("dpkg", "--verify", *names), read=missing)

    def damaged(self, paths: Sequence[str]) -> Query[dict[str, str]] | None:
        """List the files that are damaged in the packages that own `paths`."""
        return Query(argv=("sh", "-c", DAMAGED, "sh", *paths), read=damage)

    def shipped(self, path: str) -> Query[Shipped] | None:
        """List what a package file ships."""
        return Query(argv=("sh", "-c", SHIPPED, "sh", path), read=_read_shipped)

    def is_lower(self, version: str, other: str) -> Query[bool] | None:
        """Ask whether a version sorts below another one."""
        command = 'dpkg --compare-versions "$1" lt "$2" && echo yes'
        return Query(argv=("sh", "-c", command, "sh", version, other), read=bool)

    def switch(self, names: Sequence[str]) -> Query[str] | None:
        """Name the setting by which maintainer scripts disable units."""
        return Query(argv=("sh", "-c", switches.SCRIPT, "sh", *names), read=switches.find)

    def check(self, *, with_lists: bool) -> list[str] | None:
        """Read the configuration and what is installed, without the lock."""
        lists = () if with_lists else INSTALLED_ONLY
        return ["apt-get", "--quiet", "--option=Debug::NoLocking=1", *lists, "check"]

    def failing_hooks(self, paths: Sequence[str]) -> Query[tuple[str, ...]] | None:
        """Run the hooks in files of apt's configuration."""
        files = [path for path in paths if path.startswith("/etc/apt/apt.conf.d/")]
        return Query(
            argv=("sh", "-c", HOOKS, "sh", *files), read=lambda text: tuple(text.splitlines())
        )

    def blame(self, status: int, output: str, names: Sequence[str]) -> Blame | None:
        """Explain why a command has failed."""
        return causes.blame(status, output, names)

    def blame_timeout(self, output: str, names: Sequence[str], seconds: float) -> Blame:
        """Explain what was going on when the time was over."""
        return causes.blame_timeout(output, names, seconds)

    def _install(self, *words: str) -> list[str]:
        weak = [] if self.recommends else ["--no-install-recommends"]
        return self._do("install", *weak, *words)

    def _do(self, *words: str) -> list[str]:
        options = ["Dpkg::Use-Pty=0", "DPkg::Lock::Timeout=60"]
        options += [f"Dpkg::Options::={option}" for option in CONFFILES]
        return ["apt-get", "--quiet", "--yes", *(f"--option={o}" for o in options), *words]


def _read_fields(text: str) -> PackageFacts:
    pairs = (line.partition(":") for line in text.splitlines())
    fields = {name: value.strip() for name, _, value in pairs}
    return PackageFacts(
        name=fields.get("Package", ""),
        version=fields.get("Version", ""),
        architecture=fields.get("Architecture", ""),
    )


def _read_solution(text: str) -> Solution:
    """Read `Inst NAME [OLD] (VERSION ORIGIN [ARCHITECTURE])` and `Remv NAME ...`."""
    return Solution(
        installs=tuple(PackageFacts(**match.groupdict()) for match in INSTALLS.finditer(text)),
        removes=tuple(REMOVES.findall(text)),
    )


def _read_installed(text: str) -> tuple[PackageFacts, ...]:
    """Read rows that begin with a state, because removed packages may have configuration left."""
    rows = (line.partition("\t") for line in text.splitlines())
    return table("\n".join(row for state, _, row in rows if state == "installed"))


def _read_known(text: str) -> tuple[str, ...]:
    """Read the names in such rows, whatever the state."""
    rows = (line.partition("\t") for line in text.splitlines())
    found = table("\n".join(row for state, _, row in rows if state != "not-installed"))
    return tuple(dict.fromkeys(fact.name for fact in found))


def _read_owner(text: str) -> str:
    """Read `NAME: PATH` or `NAME:ARCHITECTURE, NAME: PATH`, and skip lines of diversions."""
    lines = [line for line in text.splitlines() if not line.startswith("diversion by ")]
    return next(iter(lines), "").partition(": ")[0].partition(",")[0].partition(":")[0]


def _read_diversions(text: str) -> dict[str, str]:
    """Read lines of `diversion of PATH to PATH by PACKAGE`, and `local diversion of ...`."""
    return {
        line: line.rpartition(" by ")[2] if line.startswith("diversion of ") else ""
        for line in text.splitlines()
    }


def _read_shipped(text: str) -> Shipped:
    """Read the three parts of `SHIPPED`."""
    files, digests, conffiles = [*text.split("\0"), "", "", ""][:3]
    found = filter(None, map(CONTENT.fullmatch, files.splitlines()))
    rows = (line.partition("  ") for line in digests.splitlines())
    return Shipped(
        kinds={match["path"]: kind_of(match["mode"]) for match in found if match["path"] != "/"},
        digests={f"/{path}": digest for digest, _, path in rows},
        kept=frozenset(line.strip() for line in conffiles.splitlines()),
    )


def _read_files(text: str) -> PackageFiles:
    """Read paths, and after the separator lines like ` /etc/path MD5SUM`."""
    every, _, configuration = text.partition(f"{CONFIGURATION}\n")
    paths = tuple(line for line in every.splitlines() if line.startswith("/") and line != "/.")
    rows = (line.strip().rpartition(" ")[0] for line in configuration.splitlines())
    return PackageFiles(files=paths, configuration=tuple(row for row in rows if row))
