"""What files of checksums say: SHA256SUMS, CHECKSUM, NAME.sha256, as they are written."""

from __future__ import annotations

import re
from typing import NamedTuple

from postroj.errors import VerificationError

ALGORITHMS = {64: "sha256", 128: "sha512"}
"""By the length of a digest, the preferred first; the names are those of hashlib."""

DIGEST = r"(?P<digest>[0-9a-fA-F]{128}|[0-9a-fA-F]{64})"
BARE = re.compile(rf"\s*{DIGEST}(?:\s+\*?-)?\s*")
"""All there is in the file; `-` is what sha256sum calls its stdin."""
GNU = re.compile(rf"{DIGEST} [ *](?P<name>\S.*)")
"""As sha256sum writes it."""
BSD = re.compile(rf"(?P<algorithm>SHA256|SHA512) ?\((?P<name>.+)\) ?= {DIGEST}")
"""As `sha256sum --tag` and OpenSSL write it."""


class Checksum(NamedTuple):
    """What one file must have."""

    name: str
    """Of the file, where a pattern was asked for."""
    algorithm: str
    """`sha256` or `sha512`, as hashlib calls it."""
    digest: str
    """Hexadecimal, lower case."""


def find_checksum(text: str, file_name: str) -> Checksum | None:
    """Find the checksum of a file, SHA-256 if there is one; None if it is not listed.

    In `file_name` each `*` stands for what a version may hold; the newest of several is taken.

    :raises VerificationError: if the file is listed twice with different digests.
    """
    if "*" not in file_name and (bare := BARE.fullmatch(text)):
        digest = bare["digest"].lower()
        return Checksum(file_name, ALGORITHMS[len(digest)], digest)
    pattern = re.compile(re.escape(file_name).replace(r"\*", r"[A-Za-z0-9._+~-]*"))
    listed = [one for one in _listed(text) if pattern.fullmatch(one.name)]
    for algorithm in ALGORITHMS.values():
        found = {one for one in listed if one.algorithm == algorithm}
        if found:
            newest = max(found, key=lambda one: _natural(one.name))
            if sum(one.name == newest.name for one in found) > 1:
                message = f"the checksums list '{newest.name}' with two different digests"
                raise VerificationError(message)
            return newest
    return None


def _listed(text: str) -> list[Checksum]:
    """Return all that a file of checksums lists; other lines, as those of PGP, are no matter."""
    found = []
    for line in text.splitlines():
        match = GNU.fullmatch(line.strip()) or BSD.fullmatch(line.strip())
        if match:
            digest = match["digest"].lower()
            algorithm = ALGORITHMS[len(digest)]
            if match.groupdict().get("algorithm", algorithm.upper()) == algorithm.upper():
                found.append(Checksum(match["name"].removeprefix("./"), algorithm, digest))
    return found


def _natural(name: str) -> list[tuple[int, str]]:
    """Return a key by which 2023.12 is newer than 2023.6."""
    parts = re.findall(r"[0-9]+|[^0-9]+", name)
    return [(len(part) if part[0].isdigit() else 0, part) for part in parts]
