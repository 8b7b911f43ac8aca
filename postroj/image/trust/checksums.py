"""Parse checksum files: SHA256SUMS, CHECKSUM, NAME.sha256, in all their formats."""

from __future__ import annotations

import re
from typing import NamedTuple

from postroj.errors import VerificationError

ALGORITHMS = {64: "sha256", 128: "sha512"}
"""hashlib's name by the length of a digest, the preferred one first."""

DIGEST = r"(?P<digest>[0-9a-fA-F]{128}|[0-9a-fA-F]{64})"
BARE = re.compile(rf"\s*{DIGEST}(?:\s+\*?-)?\s*")
"""A digest alone in its file; sha256sum calls stdin `-`."""
GNU = re.compile(rf"{DIGEST} [ *](?P<name>\S.*)")
"""Format of sha256sum."""
BSD = re.compile(rf"(?P<algorithm>SHA256|SHA512) ?\((?P<name>.+)\) ?= {DIGEST}")
"""Format of `sha256sum --tag` and OpenSSL."""


class Checksum(NamedTuple):
    """The digest that a file must have."""

    name: str
    """Name of the file, even if it was found by a pattern."""
    algorithm: str
    """`sha256` or `sha512`, as hashlib names it."""
    digest: str
    """Hexadecimal, lower case."""


def find_checksum(text: str, file_name: str, *, listed_in: str = "") -> Checksum | None:
    """Find a file's checksum, preferably SHA-256; None if the file is not listed.

    A `*` in `file_name` matches the parts that versions differ in; the newest match counts. A
    checksum file whose own name, `listed_in`, is that of the file and of an algorithm may call the
    file otherwise if it has one digest: openSUSE's links have the checksums of what they lead to.

    :raises VerificationError: if the file is listed twice with different digests.
    """
    if "*" not in file_name and (bare := BARE.fullmatch(text)):
        digest = bare["digest"].lower()
        return Checksum(file_name, ALGORITHMS[len(digest)], digest)
    pattern = name_pattern(file_name)
    listed = _listed(text)
    matching = [one for one in listed if pattern.fullmatch(one.name)]
    for algorithm in ALGORITHMS.values():
        found = {one for one in matching if one.algorithm == algorithm}
        if found:
            newest = max(found, key=lambda one: _natural(one.name))
            if sum(one.name == newest.name for one in found) > 1:
                message = f"the checksums list '{newest.name}' with two different digests"
                raise VerificationError(message)
            return newest
    of_one_file = listed_in in [f"{file_name}.{algorithm}" for algorithm in ALGORITHMS.values()]
    if of_one_file and len({one.digest for one in listed}) == 1:
        return listed[0]._replace(name=file_name)
    return None


def name_pattern(file_name: str) -> re.Pattern[str]:
    """Return the pattern of the names that a file name with `*` stands for."""
    return re.compile(re.escape(file_name).replace(r"\*", r"[A-Za-z0-9._+~-]*"))


def _listed(text: str) -> list[Checksum]:
    """Parse all checksums, and ignore other lines such as those of PGP."""
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
    """Return a sort key by which 2023.12 follows 2023.6."""
    parts = re.findall(r"[0-9]+|[^0-9]+", name)
    return [(len(part) if part[0].isdigit() else 0, part) for part in parts]
