"""Counts, as commands print them."""

from __future__ import annotations


def count(number: int, noun: str) -> str:
    """Return a number and a noun, in the plural where it takes one."""
    return f"{number} {noun}{'s' if number != 1 else ''}"
