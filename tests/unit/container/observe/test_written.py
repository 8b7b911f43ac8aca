"""What a guest has written, in folders that stand for layers."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from postroj.container.layer import PREFIXES
from postroj.container.observe.written import written

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("prefix", PREFIXES.values())
def test_folder_that_hides_what_is_below_in_an_overlay_of_either_kind(
    prefix: str, tmp_path: Path
) -> None:
    for path in ("upper/plain", "upper/anew/inner", "lower/plain", "lower/anew/inner"):
        (tmp_path / path).mkdir(parents=True)
    try:
        os.setxattr(tmp_path / "upper/anew", f"{prefix}opaque", b"y")
    except OSError as error:
        pytest.skip(f"no attributes: {error}")
    found = written(tmp_path / "upper", [tmp_path / "lower"])
    assert {path: (one.hides_below, one.is_below) for path, one in found.items()} == {
        "/plain": (False, True),
        "/anew": (True, True),
        "/anew/inner": (False, False),
    }
