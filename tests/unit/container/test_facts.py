"""What a run directory says of its guest."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from postroj.container.facts import FILE, Facts, read_facts, write_facts

if TYPE_CHECKING:
    from pathlib import Path


def test_what_is_written_is_read_and_by_root_alone(tmp_path: Path) -> None:
    facts = Facts(image="debian-trixie", purpose="run sh -c 'žluťoučký\n'", kept=True)
    write_facts(tmp_path, Facts())
    write_facts(tmp_path, facts)
    assert read_facts(tmp_path) == facts
    assert 0 <= time.time() - facts.began < 60
    assert [path.name for path in tmp_path.iterdir()] == [FILE]
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"image": "x", "more": 1}',
        '{"image": 1}',
        '{"image": "x", "began": "now"}',
        '{"kept": "yes"}',
        "\udcff",
    ],
)
def test_what_is_not_ours_is_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_bytes(text.encode(errors="surrogateescape"))
    assert read_facts(tmp_path) is None


def test_there_is_none(tmp_path: Path) -> None:
    assert read_facts(tmp_path) is None
    assert read_facts(tmp_path / "gone") is None
