"""Files of checksums as their publishers write them."""

from __future__ import annotations

import pytest

from postroj.errors import VerificationError
from postroj.image.trust.checksums import find_checksum

A, B, C = "a" * 64, "b" * 64, "c" * 64
LONG = "d" * 128


@pytest.mark.parametrize(
    "text",
    [
        f"{B}  other.tar.xz\n{A}  root.tar.xz\n",
        f"{A} *root.tar.xz\n",
        f"{A.upper()}  ./root.tar.xz\r\n",
        f"# root.tar.xz: 5 bytes\nSHA256 (root.tar.xz) = {A}\nSHA256 (other) = {B}\n",
        f"SHA256(root.tar.xz)= {A}\n",
        f"{A}\n",
        f"{A}  -\n",
        f"{LONG}  root.tar.xz\n{A}  root.tar.xz\n",
        f"{A}  root.tar.xz\n{A}  ./root.tar.xz\n",
        "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n"
        f"{A}  root.tar.xz\n-----BEGIN PGP SIGNATURE-----\n\niQ=\n-----END PGP SIGNATURE-----\n",
    ],
    ids=[
        "sha256sum",
        "sha256sum binary",
        "upper case and CRLF",
        "BSD",
        "OpenSSL",
        "bare",
        "bare stdin",
        "sha512 beside it",
        "listed twice alike",
        "clearsigned",
    ],
)
def test_find_checksum_in_all_formats(text: str) -> None:
    assert find_checksum(text, "root.tar.xz") == ("root.tar.xz", "sha256", A)


@pytest.mark.parametrize(
    "text",
    [f"{LONG}  r.tar\n", f"SHA512 (r.tar) = {LONG}", LONG],
    ids=["GNU", "BSD", "bare"],
)
def test_find_checksum_takes_sha512_as_a_last_resort(text: str) -> None:
    assert find_checksum(text, "r.tar") == ("r.tar", "sha512", LONG)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<html>not found</html>",
        f"{B}  other\n{A}  -\n",
        f"{A[1:]}  r.tar\n",
        f"{'e' * 32}  r.tar\n",
        f"SHA512 (r.tar) = {A}",
        f"{A}  folder/r.tar\n",
        f"{A}  xr.tar\n",
        f"{A}  rxtar\n",
    ],
    ids=[
        "empty",
        "HTML",
        "other file",
        "digest too short",
        "MD5",
        "wrong algorithm",
        "in a folder",
        "longer name",
        "dot is literal",
    ],
)
def test_find_checksum_of_a_file_that_is_not_listed(text: str) -> None:
    assert find_checksum(text, "r.tar") is None


def test_find_checksum_refuses_two_digests_of_one_file() -> None:
    with pytest.raises(VerificationError, match=r"list 'r\.tar' with two different digests"):
        find_checksum(f"{A}  r.tar\n{B}  ./r.tar\n", "r.tar")


LINKED = f"{A}  r-15.6.0-Build13.327.tar\n"


@pytest.mark.parametrize(
    ("text", "listed_in", "found"),
    [
        (LINKED, "r.tar.sha256", ("r.tar", "sha256", A)),
        (f"{LONG}  r-Build1.tar\n", "r.tar.sha512", ("r.tar", "sha512", LONG)),
        (f"{LINKED}{A}  r-15.6.0.tar\n", "r.tar.sha256", ("r.tar", "sha256", A)),
        (f"{LINKED}{B}  r.tar\n", "r.tar.sha256", ("r.tar", "sha256", B)),
        (LINKED, "SHA256SUMS", None),
        (LINKED, "r.tar.xz.sha256", None),
        (LINKED, "r.tar.md5", None),
        (f"{LINKED}{B}  r-Build2.tar\n", "r.tar.sha256", None),
    ],
    ids=[
        "of the build",
        "SHA-512",
        "by two names",
        "the file itself first",
        "of many files",
        "of another file",
        "another algorithm",
        "of two builds",
    ],
)
def test_find_checksum_in_a_file_that_is_named_for_one_file(
    text: str, listed_in: str, found: tuple[str, str, str] | None
) -> None:
    assert find_checksum(text, "r.tar", listed_in=listed_in) == found


def test_find_checksum_by_pattern_takes_the_newest() -> None:
    text = (
        f"{A}  al-2023.6.20241010.0-x86_64.tar\n"
        f"{B}  al-2023.12.20260817.0-x86_64.tar\n"
        f"{C}  al-2023.13.20260901.0-arm64.tar\n"
        f"{C}  al-2023.14/../../evil-x86_64.tar\n"
        f"{C}  al-2023.14?x=-x86_64.tar\n"
    )
    found = find_checksum(text, "al-*-x86_64.tar")
    assert found == ("al-2023.12.20260817.0-x86_64.tar", "sha256", B)


def test_find_checksum_by_pattern_ignores_a_bare_digest() -> None:
    assert find_checksum(A, "al-*.tar") is None
