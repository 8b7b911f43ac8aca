"""What each package manager says about files and versions, as recorded in guests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from postroj.container.guest import FileKind
from postroj.model import Manager
from postroj.probe.managers import manager_of

if TYPE_CHECKING:
    from postroj.probe.managers.base import PackageManager

APT, DNF, PACMAN = (manager_of(name) for name in (Manager.APT, Manager.DNF, Manager.PACMAN))

DPKG_VERIFY = """\
??5?????? c /etc/logrotate.d/apt
missing     /usr/share/x/a page.html
missing   c /etc/x.conf
missing     /root/x (Permission denied)
"""
RPM_VERIFY = """\
S.5....T.  c /etc/x.conf
missing     /usr/share/x/page.html
missing   d /usr/share/doc/x
..?......    /usr/bin/x
"""
PACMAN_CHECK = """\
warning: x: /usr/share/x (No such file or directory)
warning: x: /usr/bin/x (Modification time mismatch)
warning: x: /usr/bin/x (Size mismatch)
warning: x: /usr/lib/x (Modification time mismatch)
backup file: x: /etc/x.conf (SHA256 checksum mismatch)
x: 9 total files, 2 altered files
"""


@pytest.mark.parametrize(
    ("manager", "text", "damage"),
    [
        (
            APT,
            DPKG_VERIFY,
            {
                "/etc/logrotate.d/apt": "changed",
                "/usr/share/x/a page.html": "missing",
                "/etc/x.conf": "missing",
                "/root/x": "missing",
            },
        ),
        (
            DNF,
            RPM_VERIFY,
            {
                "/etc/x.conf": "changed",
                "/usr/share/x/page.html": "missing",
                "/usr/share/doc/x": "missing",
                "/usr/bin/x": "changed",
            },
        ),
        (
            PACMAN,
            PACMAN_CHECK,
            {"/usr/share/x": "missing", "/usr/bin/x": "changed", "/etc/x.conf": "changed"},
        ),
    ],
)
def test_damaged_and_missing_files(
    manager: PackageManager, text: str, damage: dict[str, str]
) -> None:
    damaged, missing = manager.damaged(["/x"]), manager.missing(["x"])
    assert damaged and missing
    assert damaged.read(text) == damage
    assert missing.read(text) == tuple(path for path, how in damage.items() if how == "missing")


DEB = (
    "drwxr-xr-x root/root         0 2026-01-01 00:00 ./\n"
    "-rw-r--r-- root/root         9 2026-01-01 00:00 ./etc/a b.conf\n"
    "lrwxrwxrwx root/root         0 2026-01-01 00:00 ./usr/share/doc/x -> y\n"
    "drwxr-xr-x root/root         0 2026-01-01 00:00 ./usr/lib/x/\n"
    "hrw-r--r-- root/root         0 2026-01-01 00:00 ./usr/two link to ./usr/one\n"
    "\0abc  etc/a b.conf\n\0/etc/a b.conf\n"
)
RPM = (
    "-rw-r--r--\tabc\tcn\t/etc/a b.conf\n"
    "-rw-r--r--\t\tcg\t/etc/ghost\n"
    "lrwxrwxrwx\t\t\t/usr/share/doc/x\n"
    "drwxr-xr-x\t\t\t/usr/lib/x\n"
    "-rw-r--r--\tdef\tc\t/etc/replaced\n"
)
MTREE = (
    "#mtree\n/set type=file uid=0 gid=0 mode=644\n"
    "./.BUILDINFO time=1.0 size=1 sha256digest=0\n"
    "./etc time=1.0 mode=755 type=dir\n"
    "./etc/a.conf time=1.0 size=9 sha256digest=abc\n"
    "./usr/share/doc/x time=1.0 mode=777 type=link link=y\n"
    "pkgname = x\nbackup = etc/a.conf\n"
)


def test_shipped_files_of_a_deb() -> None:
    query = APT.shipped("/x.deb")
    assert query
    found = query.read(DEB)
    assert found.kinds == {
        "/etc/a b.conf": FileKind.FILE,
        "/usr/share/doc/x": FileKind.LINK,
        "/usr/lib/x": FileKind.FOLDER,
        "/usr/two": FileKind.FILE,
    }
    assert found.digests == {"/etc/a b.conf": "abc"}
    assert found.kept == {"/etc/a b.conf"}


def test_shipped_files_of_an_rpm() -> None:
    query = DNF.shipped("/x.rpm")
    assert query
    found = query.read(RPM)
    assert set(found.kinds) == {"/etc/a b.conf", "/usr/share/doc/x", "/usr/lib/x", "/etc/replaced"}
    assert found.kinds["/usr/share/doc/x"] is FileKind.LINK
    assert found.digests == {"/etc/a b.conf": "abc", "/etc/replaced": "def"}
    assert found.kept == {"/etc/a b.conf"}


def test_shipped_files_of_a_package_of_pacman() -> None:
    query = PACMAN.shipped("/x.pkg.tar")
    assert query
    found = query.read(MTREE)
    assert found.kinds == {
        "/etc": FileKind.FOLDER,
        "/etc/a.conf": FileKind.FILE,
        "/usr/share/doc/x": FileKind.LINK,
    }
    assert found.digests == {"/etc/a.conf": "abc"}
    assert found.kept == {"/etc/a.conf"}


def test_is_lower_reads_what_each_tool_says() -> None:
    lower = [manager.is_lower("1.0", "1.0-rc1") for manager in (APT, DNF, PACMAN)]
    said = [
        query and query.read(text) for query, text in zip(lower, ("yes", "-1", "-1\n"), strict=True)
    ]
    assert said == [True, True, True]
    assert [query and query.read("") for query in lower] == [False, False, False]
    hostile = DNF.is_lower("1'))os.exit(1)", "1")
    assert hostile
    assert hostile.argv == ("true",)
