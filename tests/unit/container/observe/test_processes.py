"""Processes as the kernel describes them."""

from __future__ import annotations

import os

import pytest

from postroj.container.observe.processes import parse_arguments, parse_started


@pytest.mark.parametrize(
    ("raw", "arguments"),
    [
        (b"", ()),
        (b"/usr/bin/perl\0-e\0\0x y\0", ("/usr/bin/perl", "-e", "", "x y")),
        (b"nginx: master process", ("nginx: master process",)),
    ],
)
def test_parse_arguments(raw: bytes, arguments: tuple[str, ...]) -> None:
    assert parse_arguments(raw) == arguments


def test_parse_started_of_a_process_with_a_strange_name() -> None:
    after = "S 1 2 3 0 -1 4194560 5 6 7 8 9 10 11 12 20 0 1 0 1200 4096 77"
    assert parse_started(f"42 (a) R 9 b) {after}\n") == 1200 / os.sysconf("SC_CLK_TCK")
