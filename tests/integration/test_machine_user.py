"""A guest with a kernel of its own, which a user without root boots in qemu."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from subprocess import PIPE
from typing import TYPE_CHECKING

import pytest

from postroj.kernels import DEBIAN
from tests.support import unprivileged
from tests.support.cli import argv_by_pid, eventually
from tests.support.unprivileged import PYTHON, User

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LONG = 900
"""Seconds for making the kernel and booting it: other tests run at the same time."""
pytestmark = pytest.mark.timeout(LONG)
IMAGE = "debian-trixie"
"""Root boots the older ones, in the other tests."""
SCRIPT = """
uname -r
id -u
systemctl is-system-running
grep -c ' / overlay .*,userxattr' /proc/mounts
cat
url=$(sed -n 's/^deb .* \\(http[^ ]*\\) trixie main$/\\1/p' /etc/apt/sources.list)
/usr/lib/apt/apt-helper download-file "$url/dists/trixie/Release" /tmp/Release >/dev/null
grep ^Codename /tmp/Release
echo problem >&2
exit 7
"""


@pytest.fixture(scope="module")
def user(pulled: Callable[[str], str]) -> Iterator[User]:
    names = [pulled(name) for name in (IMAGE, DEBIAN)]
    with unprivileged.user() as made:
        for name in names:
            made.take(name)
        yield made


def test_run_vm_without_root(user: User) -> None:
    """What it needs is made in containers of the user; qemu is neither root nor the user."""
    argv = ("run", "--vm", "--image", IMAGE, "--memory", "768M", "--", "sh", "-c", SCRIPT)
    words = user.argv(PYTHON, "-m", "postroj", *argv)
    with subprocess.Popen(words, stdin=PIPE, stdout=PIPE, stderr=PIPE, bufsize=0) as child:
        assert child.stdin and child.stdout
        try:
            release = child.stdout.readline().decode().strip()  # and no byte more
            assert release, child.stderr and child.stderr.read()
            (qemu,) = (pid for pid, argv in commands(user).items() if argv.startswith(b"qemu-"))
            lines = Path(f"/proc/{qemu}/status").read_text().splitlines()
            status = dict(line.split(":\t") for line in lines)
            out, err = (said.decode() for said in child.communicate(b"a word\n", LONG))
        except BaseException:
            child.kill()
            raise
    assert release != os.uname().release
    lines = ["0", "running", "1", "a word", "Codename: trixie"]
    assert (child.returncode, out.splitlines()) == (7, lines), err
    assert err.endswith("problem\n")
    assert {int(uid) for uid in status["Uid"].split()}.isdisjoint({0, user.home.stat().st_uid})
    assert [int(status[f"Cap{kind}"], 16) for kind in ("Prm", "Eff", "Inh", "Amb")] == [0] * 4
    assert eventually(lambda: not user.leftovers())
    assert not commands(user)


def commands(user: User) -> dict[int, bytes]:
    """Return the processes that name a guest of this user, with their command lines."""
    mark = f"{user.state}/postroj-".encode()
    return {pid: argv for pid, argv in argv_by_pid().items() if mark in argv}
