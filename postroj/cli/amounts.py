"""Sizes and counts, as commands print them."""

from __future__ import annotations


def megabytes(count: int) -> str:
    """Return bytes as rounded megabytes, with the unit."""
    return f"{count / 1e6:.0f} MB"


def count(number: int, noun: str) -> str:
    """Return a number and a noun, in the plural where it takes one."""
    return f"{number} {noun}{'s' if number != 1 else ''}"
