"""Bytes that are decompressed while they arrive."""

from __future__ import annotations

import pytest

from postroj import process
from postroj.errors import HostError
from postroj.image.unpack.decompress import Decompressor


def test_decompressor_whose_tool_is_not_installed_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        message = f"'{name}' is not installed on this host"
        raise HostError(message)

    monkeypatch.setattr(process, "tool", missing)
    with (
        pytest.raises(HostError, match="'xz' is not installed"),
        Decompressor(lambda pipe: None) as inlet,
    ):
        inlet.write(b"\xfd7zXZ\x00" + bytes(600))
