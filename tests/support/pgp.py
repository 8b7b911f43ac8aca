"""OpenPGP keys and signatures, made by the real gpg in a home of its own."""

from __future__ import annotations

import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

LONG_AGO = "--faked-system-time=20200101T000000!"
"""The `!` lets this clock stand still: a key is not made after what it signs."""


@dataclass(frozen=True)
class Gpg:
    """A gpg with keys of its own."""

    home: Path

    def run(self, *argv: str, stdin: bytes = b"") -> bytes:
        """Run gpg; what it writes."""
        command = ["gpg", "--homedir", str(self.home), "--batch", "--quiet", "--passphrase="]
        done = subprocess.run([*command, *argv], input=stdin, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    def key(self, name: str, *options: str, expire: str = "0") -> str:
        """Make a key for signatures; its fingerprint."""
        user = f"{name} <{name}@tests.example>"
        self.run(*options, "--quick-generate-key", user, "ed25519", "sign", expire)
        listed = self.run("--with-colons", "--list-keys", f"={user}").decode()
        return next(line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr"))

    def export(self, *keys: str, armour: bool = False) -> bytes:
        """Return public keys."""
        return self.run(*(["--armor"] if armour else []), "--export", *keys)

    def clearsign(self, data: bytes, key: str, *options: str) -> bytes:
        """Sign inline."""
        return self.run(*options, "--local-user", key, "--clearsign", stdin=data)

    def detach(self, data: bytes, key: str, *options: str) -> bytes:
        """Make a detached signature."""
        return self.run(*options, "--local-user", key, "--armor", "--detach-sign", stdin=data)

    def revoke(self, key: str) -> None:
        """Revoke a key with the certificate that gpg made for it."""
        certificate = (self.home / "openpgp-revocs.d" / f"{key}.rev").read_text()
        self.run("--import", stdin=certificate.replace(":-----BEGIN", "-----BEGIN").encode())


@contextmanager
def gpg() -> Iterator[Gpg]:
    """Have a gpg until its agent is stopped and its keys are gone."""
    # the path of a socket in it may have 108 bytes
    with TemporaryDirectory(prefix="pgp-") as home:
        try:
            yield Gpg(Path(home))
        finally:
            subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=True)
