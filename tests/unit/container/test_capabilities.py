"""Capabilities that a guest's init lacks."""

from __future__ import annotations

import pytest

from postroj.container.capabilities import CAPABILITIES, parse_lacking


@pytest.mark.parametrize(
    ("text", "some"),
    [
        (
            "CapBnd: 00000000fcecffff 40 0 0 4294967295",
            {"SYS_MODULE", "SYS_TIME", "SYS_RESOURCE", "BPF"},
        ),
        ("CapBnd: 000001ffffffffff 40 0 0 4294967295", set()),
        ("CapBnd: 000001ffffffffff 40 0 524288 65536", {"MKNOD", "SYS_RESOURCE", "SYS_TIME"}),
        ("CapBnd: 000001ffffffffff 40 0 1000 1 1 100000 65535", {"MKNOD", "SYS_TIME"}),
        ("grep: cannot open", set()),
        ("", set()),
    ],
)
def test_parse_lacking(text: str, some: set[str]) -> None:
    found = parse_lacking(text.split())
    assert (found >= some) and bool(found) == bool(some)


def test_parse_lacking_leaves_out_what_an_old_kernel_does_not_know() -> None:
    assert "BPF" not in parse_lacking(["CapBnd:", "0000003fffffffff", "37", "0", "0", "4294967295"])


def test_capabilities_have_their_numbers() -> None:
    assert (CAPABILITIES.index("SYS_TIME"), CAPABILITIES.index("CHECKPOINT_RESTORE")) == (25, 40)
