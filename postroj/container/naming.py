"""The names of guests: `postroj-` and eight random hexadecimal digits.

A name is that of the guest's run directory, of its machine and of its control groups. The host name
inside of the guest may be another.
"""

from __future__ import annotations

import re

from postroj.locking import DIGITS, random_digits

PREFIX = "postroj"
DOMAIN = "postroj.test"
"""The domain of all guests, as mail software needs one.

`.test` is reserved for tests, RFC 6761: no name server on the internet knows it.
"""
COMMON_HOST = "guest"
"""The host name of guests whose files are used in other guests, or compared with those of others.

Daemons write the host name into their configuration when they are installed.
"""
PATTERN = re.compile(rf"{PREFIX}-{DIGITS}")


def is_guest(name: str) -> bool:
    """Whether `name` has the form of a guest's name."""
    return PATTERN.fullmatch(name) is not None


def generate() -> str:
    """Return a name that no guest has."""
    return f"{PREFIX}-{random_digits()}"
