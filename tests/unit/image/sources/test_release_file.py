from __future__ import annotations

from datetime import UTC, datetime

import pytest

from postroj.errors import ImageError
from postroj.image.sources import release_file

TEXT = """\
Origin: Debian
Suite: oldstable-security
Date: Sat, 28 Nov 2026 09:27:08 UTC
Valid-Until: Sat, 05 Dec 2026 09:27:08 UTC
Acquire-By-Hash: yes
Architectures: amd64 arm64 i386
Components: updates/main updates/contrib
Description: Debian 12 Security Updates
SHA256:
 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 0 Architectures: m68k
"""
FIELDS = release_file.parse(TEXT)
BEFORE = datetime(2026, 12, 5, 9, 27, 7, tzinfo=UTC)
AFTER = datetime(2026, 12, 5, 9, 27, 9, tzinfo=UTC)


def test_parse_reads_fields_and_no_lists() -> None:
    assert FIELDS["Valid-Until"] == "Sat, 05 Dec 2026 09:27:08 UTC"
    assert FIELDS["Architectures"] == "amd64 arm64 i386"
    assert release_file.parse("<html>\nno: fields here</html>") == {"no": "fields here</html>"}


def test_check_takes_a_release_file_that_is_valid() -> None:
    release_file.check(FIELDS, "x", "amd64", ["main", "contrib"], now=BEFORE)
    release_file.check(FIELDS, "x", "amd64", ["main"], allow_expired=True, now=AFTER)
    release_file.check({**FIELDS, "Valid-Until": ""}, "x", "amd64", ["main"], now=AFTER)


@pytest.mark.parametrize(
    ("changes", "architecture", "component", "said"),
    [
        ({}, "amd64", "main", "x has expired on Sat, 05 Dec"),
        ({"Valid-Until": "some day"}, "amd64", "main", "x has expired on some day"),
        ({"Valid-Until": ""}, "s390x", "main", "x lists no packages for 's390x'"),
        ({"Valid-Until": ""}, "amd64", "universe", "x has no component universe"),
    ],
)
def test_check_refuses_a_release_file_that_lacks_something(
    changes: dict[str, str], architecture: str, component: str, said: str
) -> None:
    with pytest.raises(ImageError, match=said):
        release_file.check(FIELDS | changes, "x", architecture, [component], now=AFTER)
