"""One architecture, many names."""

from __future__ import annotations

import pytest

from postroj.image.architectures import DEBIAN, OCI, machine


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("amd64 x86_64 linux/amd64 x64 AMD64 x86-64 x86_64_v3", "x86_64"),
        ("arm64 aarch64 linux/arm64 linux/arm64/v8", "aarch64"),
        ("armhf armv7l armv7h armv7hl linux/arm/v7 arm", "armv7l"),
        ("i386 i686 386 i586 linux/386", "i686"),
        ("ppc64el ppc64le", "ppc64le"),
        ("all any noarch", ""),
        ("loongarch64", "loongarch64"),
    ],
)
def test_machine_of_every_name(names: str, expected: str) -> None:
    assert {machine(name) for name in names.split()} == {expected}


def test_names_of_machines_mean_themselves() -> None:
    assert all(machine(name) == name for name in {*DEBIAN, *OCI})
