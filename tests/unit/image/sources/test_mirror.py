from __future__ import annotations

import pytest

from postroj.errors import UsageError
from postroj.image.sources import mirror

FETCHED = """\
https://third.example/linux/debian/	bookworm	Third	Third CE
http://mirror.example/debian-security/	bookworm-security	Debian	Debian-Security
http://mirror.example/debian/	bookworm-updates	Debian	Debian
http://mirror.example/debian/	bookworm	Debian	Debian
http://mirror.example/debian/	bookworm-backports	Debian	Debian Backports
http://other.example/debian/	bookworm	Debian	Debian
"""
NOT_FETCHED = """\
http://third.example/linux/debian/	bookworm	$(ORIGIN)	$(LABEL)
http://third.example/apt/	bookworm	$(ORIGIN)	$(LABEL)
http://user:secret@mirror.example/debian/	bookworm	$(ORIGIN)	$(LABEL)
http://user:secret@mirror.example/debian/	bookworm-updates	$(ORIGIN)	$(LABEL)
http://mirror.example/debian-security/	bookworm-security	$(ORIGIN)	$(LABEL)
file:/srv/debian/	bookworm	$(ORIGIN)	$(LABEL)
"""


def test_by_origin_takes_the_archive_from_the_release_file() -> None:
    assert mirror.by_origin(mirror.parse(FETCHED)) == {
        "debian": "http://mirror.example/debian",
        "debian-security": "http://mirror.example/debian-security",
    }


def test_by_path_takes_archives_without_lists() -> None:
    targets = mirror.parse(NOT_FETCHED)
    assert mirror.by_origin(targets) == {}
    assert mirror.by_path(targets) == {
        "debian": "http://user:secret@mirror.example/debian",
        "debian-security": "http://mirror.example/debian-security",
    }


UBUNTU = """\
http://security.mirror.example/ubuntu/\tnoble-security\tUbuntu\tUbuntu
http://ppa.example/somebody/ubuntu/\tnoble\tLP-PPA-somebody\tSomebody
http://mirror.example/ubuntu/\tnoble\tUbuntu\tUbuntu
http://mirror.example/ubuntu/\tnoble-updates\tUbuntu\tUbuntu
"""


def test_by_origin_tells_the_two_archives_of_ubuntu_apart() -> None:
    targets = mirror.parse(UBUNTU)
    assert mirror.by_origin(targets, "x86_64") == {"ubuntu": "http://mirror.example/ubuntu"}
    assert mirror.by_origin(targets, "aarch64") == {"ubuntu-ports": "http://mirror.example/ubuntu"}


def test_by_path_takes_ubuntu_only_with_an_updates_suite() -> None:
    """A third party's archive is no mirror, though its path ends as one."""
    assert mirror.by_path(mirror.parse(UBUNTU)) == {"ubuntu": "http://mirror.example/ubuntu"}
    third = mirror.parse("http://ppa.example/somebody/ubuntu/\tnoble\t$(ORIGIN)\t$(LABEL)\n")
    assert mirror.by_path(third) == {}


@pytest.mark.parametrize(
    ("archive", "architecture", "really"),
    [
        ("ubuntu", "x86_64", "ubuntu"),
        ("ubuntu", "i686", "ubuntu"),
        ("ubuntu", "aarch64", "ubuntu-ports"),
        ("ubuntu", "riscv64", "ubuntu-ports"),
        ("debian", "riscv64", "debian"),
    ],
)
def test_archive_for_chooses_ports_for_other_architectures(
    archive: str, architecture: str, really: str
) -> None:
    assert mirror.archive_for(archive, architecture) == really


def test_by_origin_ignores_other_distributions() -> None:
    text = "http://mirror.example/other/\tone\tOther\tOther\n"
    assert mirror.by_origin(mirror.parse(text)) == {}
    assert mirror.by_path(mirror.parse(text)) == {}


def test_parse_of_no_targets() -> None:
    assert mirror.parse("") == []


def test_parse_skips_files_and_cds() -> None:
    text = "file:/srv/debian/\tsid\tDebian\tDebian\ncdrom://x/\tsid\tDebian\tDebian\n"
    assert mirror.parse(text) == []


SNAPSHOT = {"debian": "http://user:word@snapshot.example/archive/debian/20260101T000000Z"}


@pytest.mark.parametrize(
    ("pinned", "used"),
    [
        ((), SNAPSHOT["debian"]),
        # the record has no password, the host does
        (
            ("debian=http://***@snapshot.example/archive/debian/20250101T000000Z",),
            "http://user:word@snapshot.example/archive/debian/20250101T000000Z",
        ),
    ],
)
def test_narrowed_takes_only_the_path_from_a_lock_file(pinned: tuple[str, ...], used: str) -> None:
    assert mirror.narrowed(SNAPSHOT, pinned) == {"debian": used}


def test_narrowed_accepts_the_default_of_an_archive() -> None:
    uri = mirror.DEFAULTS["ubuntu"]
    assert mirror.narrowed({}, [f"ubuntu={uri}"]) == {"ubuntu": uri}


@pytest.mark.parametrize(
    "pinned",
    [
        "debian=http://elsewhere.example/archive/debian/20250101T000000Z",
        "debian=https://snapshot.example/archive/debian/20250101T000000Z",
        "debian=http://snapshot.example:8080/archive",
        "debian=[trusted=yes] http://snapshot.example/archive",
        "debian=http://snapshot.example/a [trusted=yes]",
        "debian=http://snapshot.example/a sid main\ndeb http://elsewhere.example/",
        "debian=http://snapshot.example@elsewhere.example/",
        "debian=/etc",
        "other=http://snapshot.example/archive",
    ],
)
def test_narrowed_refuses_another_server(pinned: str) -> None:
    with pytest.raises(UsageError, match="that this host does not have"):
        mirror.narrowed(SNAPSHOT, [pinned])
