"""A user of this host without root, as postroj needs one: with subordinate numbers and groups.

The user has the checkout, the Python packages and two devices at places of its own, since this
host may keep them to root. They are mounted in a namespace that ends with the command.
"""

from __future__ import annotations

import json
import os
import pwd
import re
import shutil
import subprocess
import sysconfig
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from postroj import paths
from postroj.container.cgroup import hierarchies
from tests.support.cli import eventually

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

REPOSITORY = Path(__file__).parents[2]
PYTHON = "/usr/bin/python3"
"""That of the distribution: another one may lie in a folder of root."""
FIRST, IDS = 1 << 30, 1 << 16
"""Where subordinate numbers begin that nobody else has, and how many a user gets."""

NUMBERS = count(os.getpid() * 10)
"""For names, which others may give users at the same time."""

# as.sh GROUP NAME REPOSITORY PACKAGES COMMAND...
AS_USER = """
echo $$ > "$1/cgroup.procs"
exec unshare --mount --propagation private sh -ec '
    name=$1
    mount -t tmpfs -o mode=755 tmpfs /mnt
    mkdir /mnt/checkout /mnt/packages
    mount --bind "$2" /mnt/checkout
    mount --bind "$3" /mnt/packages
    mknod -m 666 /mnt/fuse c 10 229
    mknod -m 666 /mnt/tun c 10 200
    mount --bind /mnt/fuse /dev/fuse
    mount --bind /mnt/tun /dev/net/tun
    [ -z "$HIDDEN" ] || mount --bind /dev/null "$HIDDEN"
    shift 3
    exec setpriv --reuid="$name" --regid="$name" --init-groups --reset-env "$@"
' sh "$2" "$3" "$4" "${@:5}"
"""


@dataclass(frozen=True)
class User:
    """One that exists during a test."""

    name: str
    home: Path
    group: Path
    """Control group that belongs to the user."""

    @property
    def runtime(self) -> Path:
        """Folder for what lives as long as the user is logged in."""
        return self.home / "run"

    @property
    def state(self) -> Path:
        """State folder of postroj."""
        return self.runtime / "postroj"

    @property
    def cache(self) -> Path:
        """Cache folder of postroj."""
        return self.home / ".cache/postroj"

    def argv(self, *words: object, own_group: bool = True, hide: str = "") -> list[str]:
        """Return the command that runs a command as this user, and hides a program of the host."""
        group = self.group / "own" if own_group else hierarchies.mounted()[hierarchies.V2]
        packages = sysconfig.get_path("purelib")
        variables = {
            "XDG_RUNTIME_DIR": str(self.runtime),
            "PYTHONPATH": "/mnt/checkout:/mnt/packages",
            "PYTHONDONTWRITEBYTECODE": "1",
            "NO_COLOR": "1",
        }
        return [
            *(
                "env",
                f"HIDDEN={hide}",
                "bash",
                "-euc",
                AS_USER,
                "bash",
                str(group),
                self.name,
                str(REPOSITORY),
                packages,
            ),
            *("env", f"--chdir={self.home}"),
            *(f"{name}={value}" for name, value in variables.items()),
            *map(str, words),
        ]

    def run(self, *words: object, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a command as this user."""
        own_group, hide = options.pop("own_group", True), options.pop("hide", "")
        options = {"stdin": subprocess.DEVNULL, "timeout": 300} | options
        argv = self.argv(*words, own_group=own_group, hide=hide)
        return subprocess.run(argv, check=False, capture_output=True, text=True, **options)

    def postroj(self, *words: object, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run postroj as this user."""
        return self.run(PYTHON, "-m", "postroj", *words, **options)

    def take(self, *images: str) -> None:
        """Copy stored images of root's to this user's cache."""
        theirs = self.cache / "images"
        theirs.mkdir(parents=True, exist_ok=True)
        for name in images:
            for file in (paths.cache_dir() / "images").glob(f"{name}-*"):
                shutil.copy(file, theirs)
        own(self.home, self.name)

    def leftovers(self, beside: Collection[str] = ()) -> list[str]:
        """What of this user's guests is left, beside some that live."""
        groups = [path for path in self.group.iterdir() if path.is_dir() and path.name != "own"]
        found = [
            path for path in (*self.state.glob("postroj-*"), *groups) if path.name not in beside
        ]
        processes = [path for path in self.processes() if not _is_of(path, beside)]
        return sorted(map(str, (*found, *processes)))

    def names(self) -> list[str]:
        """Names of this user's guests."""
        return [guest["name"] for guest in json.loads(self.postroj("ps", "--json").stdout)]

    def processes(self) -> list[Path]:
        """The processes that are this user's, as folders of `/proc`."""
        uid = pwd.getpwnam(self.name).pw_uid
        return [path for path in Path("/proc").glob("[0-9]*") if _owner(path) == uid]


def _is_of(process: Path, guests: Collection[str]) -> bool:
    """Whether a process is in a control group of one of these guests."""
    try:
        words = re.split(r"[/\n]", (process / "cgroup").read_text())
    except OSError:
        return False
    return not set(words).isdisjoint(guests)


def _owner(path: Path) -> int | None:
    try:
        return path.stat().st_uid
    except OSError:
        return None


def own(folder: Path, name: str) -> None:
    """Give a folder with all in it to a user."""
    subprocess.run(["chown", "--recursive", "--no-dereference", f"{name}:", folder], check=True)


def _removed(group: Path) -> bool:
    """Remove a control group with those below it; whether nothing is left."""
    for folder, _, _ in os.walk(group, topdown=False):
        try:
            Path(folder).rmdir()
        except OSError:  # its processes are not reaped yet
            return False
    return True


@contextmanager
def user(*, ranges: bool = True) -> Iterator[User]:
    """Make a user for a block, and remove it with its processes, files and groups."""
    name = f"postroj-test-{next(NUMBERS)}"
    home = Path(tempfile.mkdtemp(prefix=f"{name}-", dir="/var/tmp"))
    group = hierarchies.mounted()[hierarchies.V2] / f"{name}.test"
    words = ["--system", "--user-group", f"--home-dir={home}", "--shell=/bin/sh"]
    subprocess.run(["useradd", *words, name], check=True)
    try:
        if ranges:
            first = FIRST + os.getpid() % 1000 * IDS
            words = [f"--add-sub{kind}={first}-{first + IDS - 1}" for kind in ("uids", "gids")]
            subprocess.run(["usermod", *words, name], check=True)
        (group / "own").mkdir(parents=True)
        (home / "run").mkdir(mode=0o700)
        own(home, name)
        own(group, name)
        yield User(name, home, group)
    finally:
        (group / "cgroup.kill").write_text("1")
        assert eventually(lambda: _removed(group))
        subprocess.run(["userdel", name], check=True)
        shutil.rmtree(home)
