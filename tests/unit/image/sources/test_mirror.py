from __future__ import annotations

import pytest

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


def test_archives_that_say_what_they_are() -> None:
    assert mirror.by_origin(mirror.parse(FETCHED)) == {
        "debian": "http://mirror.example/debian",
        "debian-security": "http://mirror.example/debian-security",
    }


def test_archives_whose_lists_were_not_fetched() -> None:
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


def test_a_host_of_ubuntu_has_one_archive_or_the_other() -> None:
    targets = mirror.parse(UBUNTU)
    assert mirror.by_origin(targets, "x86_64") == {"ubuntu": "http://mirror.example/ubuntu"}
    assert mirror.by_origin(targets, "aarch64") == {"ubuntu-ports": "http://mirror.example/ubuntu"}


def test_ubuntu_whose_lists_were_not_fetched() -> None:
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
def test_the_archive_of_an_architecture(archive: str, architecture: str, really: str) -> None:
    assert mirror.archive_for(archive, architecture) == really


def test_a_host_of_another_distribution() -> None:
    text = "http://mirror.example/other/\tone\tOther\tOther\n"
    assert mirror.by_origin(mirror.parse(text)) == {}
    assert mirror.by_path(mirror.parse(text)) == {}


def test_no_targets_at_all() -> None:
    assert mirror.parse("") == []


def test_what_only_the_host_can_reach_is_left_out() -> None:
    text = "file:/srv/debian/\tsid\tDebian\tDebian\ncdrom://x/\tsid\tDebian\tDebian\n"
    assert mirror.parse(text) == []
