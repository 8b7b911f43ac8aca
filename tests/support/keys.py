"""OpenPGP keys of publishers that tests make up."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.support.pgp import Gpg, gpg

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass(frozen=True)
class Signer:
    """Somebody with a key; `key` is the file of the public one, armoured."""

    gpg: Gpg
    key: Path
    fingerprint: str

    def sign(self, data: bytes, how: str, *options: str) -> bytes:
        """Sign, `--detach-sign` or `--clear-sign`."""
        return self.gpg.run(*options, "--armor", how, stdin=data)


@contextmanager
def signer(folder: Path, name: str = "Publisher", expires: str = "never") -> Iterator[Signer]:
    """Make a key; its public half goes to a file in `folder`."""
    with gpg() as tool:
        fingerprint = tool.key(name, expire=expires)
        key = folder / f"{name}.asc"
        key.write_bytes(tool.export(fingerprint, armour=True))
        yield Signer(tool, key, fingerprint)
