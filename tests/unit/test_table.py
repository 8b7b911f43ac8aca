from __future__ import annotations

import pytest

from postroj.report.table import table


def test_columns_are_aligned_without_trailing_blanks() -> None:
    rows = [("a", "long cell", ""), ("longer", "b", "c")]
    assert table(rows, header=("X", "Y", "Z")) == (
        "X       Y          Z\n"  # comment keeps the columns readable
        "a       long cell\n"
        "longer  b          c"
    )


def test_table_without_header() -> None:
    assert table([("a", "b")]) == "a  b"


def test_table_without_rows() -> None:
    assert table([]) == ""
    assert table([], header=("A", "B")) == "A  B"


def test_colour_does_not_widen_a_column() -> None:
    plain = table([("ok", "x"), ("missing", "y")])
    coloured = table([("\x1b[32mok\x1b[0m", "x"), ("\x1b[1;31mmissing\x1b[0m", "y")])
    assert (
        coloured.replace("\x1b[32m", "").replace("\x1b[1;31m", "").replace("\x1b[0m", "") == plain
    )


def test_rows_of_different_lengths_raise() -> None:
    with pytest.raises(ValueError, match="zip"):
        table([("a", "b"), ("c",)])
