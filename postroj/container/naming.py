"""The names of guests: `postroj-` and eight random hexadecimal digits.

A name is that of the guest's run directory, of its machine and of its control groups.
"""

from __future__ import annotations

import re

from postroj.locking import DIGITS, random_digits

PREFIX = "postroj"
PATTERN = re.compile(rf"{PREFIX}-{DIGITS}")


def is_guest(name: str) -> bool:
    """Whether `name` has the form of a guest's name."""
    return PATTERN.fullmatch(name) is not None


def generate() -> str:
    """Return a name that no guest has."""
    return f"{PREFIX}-{random_digits()}"
