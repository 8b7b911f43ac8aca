"""Read public keys, armoured or not, of postroj or of its users."""

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
    rb"(?:\n=[A-Za-z0-9+/]{4}\s*)?"  # an optional checksum
    rb"-----END PGP PUBLIC KEY BLOCK-----"
)
"""RFC 9580, 6.2."""


def read(key: str) -> bytes:
    """Return the public keys of a file in `image/trust/keys/` or at an absolute path, for gpgv.

    :raises ImageError: if the file cannot be read or is damaged.
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
    """Decode a block of armour.

    :raises ValueError: if it is damaged.
    """
    if armour is None:
        raise ValueError
    return base64.b64decode(b"".join(armour["data"].split()), validate=True)
