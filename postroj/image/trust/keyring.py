"""Files of public keys: those that postroj ships, and those of its users; armoured or not."""

from __future__ import annotations

import base64
import binascii
import re
from pathlib import Path

from postroj.errors import ImageError

KEYS = Path(__file__).parent / "keys"

ARMOUR = re.compile(
    rb"-----BEGIN PGP PUBLIC KEY BLOCK-----[ \t\r]*\n"
    rb"(?:[A-Za-z]+: .*\n)*[ \t\r]*\n"
    rb"(?P<data>[A-Za-z0-9+/\s]+=*\s*)"
    rb"(?:\n=[A-Za-z0-9+/]{4}\s*)?"  # a checksum, which nobody needs
    rb"-----END PGP PUBLIC KEY BLOCK-----"
)
"""RFC 9580, 6.2."""


def read(key: str) -> bytes:
    """Read a file of public keys, in `image/keys/` or at an absolute path, as gpgv wants them.

    :raises ImageError: if it cannot be read, or is damaged.
    """
    path = KEYS / key
    try:
        data = path.read_bytes()
    except OSError as error:
        message = f"the key '{key}' cannot be read"
        raise ImageError(message, evidence=str(error)) from None
    if not data.lstrip().startswith(b"-----BEGIN"):
        return data
    try:
        return b"".join(map(_dearmoured, ARMOUR.finditer(data))) or _dearmoured(None)
    except (ValueError, binascii.Error):
        message = f"the key '{key}' is damaged"
        raise ImageError(message, hint="export it again with `gpg --export`") from None


def _dearmoured(armour: re.Match[bytes] | None) -> bytes:
    """Return what is in a block of armour.

    :raises ValueError: if it is damaged.
    """
    if armour is None:
        raise ValueError
    return base64.b64decode(b"".join(armour["data"].split()), validate=True)
