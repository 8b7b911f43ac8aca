"""Files and variables for a guest: what is written, and how it is quoted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from postroj.errors import UsageError
from postroj.probe import configuration
from postroj.probe.configuration import Put, set_environment, with_environment
from postroj.probe.managers.apt.apt import Apt
from tests.support.fake_guest import FakeGuest

if TYPE_CHECKING:
    from pathlib import Path


def test_set_environment_quotes_for_the_manager(monkeypatch: pytest.MonkeyPatch) -> None:
    texts: list[bytes] = []
    monkeypatch.setattr(configuration, "_write", lambda guest, path, text, mode: texts.append(text))
    guest = FakeGuest()
    set_environment(guest, {"A": 'x "y" \\ %h', "B": ""})
    assert guest.ran == [("systemctl", "set-environment", 'A=x "y" \\ %h', "B=")]
    assert texts == [b'[Manager]\nDefaultEnvironment="A=x \\"y\\" \\\\ %%h" "B="\n']
    guest.ran.clear()
    set_environment(guest, {})
    assert guest.ran == []


def test_with_environment_changes_no_other_manager() -> None:
    manager = Apt()
    changed = with_environment(manager, {"LC_ALL": "C", "X": "1"})
    assert (changed.environment["LC_ALL"], changed.environment["X"]) == ("C", "1")
    assert "X" not in manager.environment
    assert with_environment(manager, {}) is manager


def test_put_reports_a_file_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        configuration.put(FakeGuest(), [Put(source=tmp_path / "gone", path="/etc/x")])
