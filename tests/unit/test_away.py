"""Paths of the user's machine on the one that carries out a command."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from postroj import away

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = "/var/tmp/x/root"


@pytest.fixture
def at_home(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def be(**more: Any) -> None:
        monkeypatch.setattr(away, "_homes", [away.Home(root=ROOT, host="box", **more)])

    return be


def test_paths_are_unchanged_on_the_users_own_machine() -> None:
    assert away.here("/dist/x.deb") == away.there("/dist/x.deb") == "/dist/x.deb"
    assert away.as_seen("'/dist/x.deb'") == "'/dist/x.deb'"


def test_absolute_paths_are_below_the_root_and_relative_ones_unchanged(
    at_home: Callable[..., None],
) -> None:
    at_home()
    assert away.here("/dist/x.deb") == f"{ROOT}/dist/x.deb"
    assert away.here("dist/") == "dist/"
    assert away.there(f"{ROOT}/dist/x.deb") == "/dist/x.deb"
    assert away.there("/usr/bin") == "/usr/bin"
    assert away.as_seen(f"see '{ROOT}/a'") == "see '/a'"


def test_paths_of_windows(at_home: Callable[..., None]) -> None:
    at_home(windows=True)
    assert away.here("C:\\dist\\x.deb") == f"{ROOT}/C/dist/x.deb"
    assert away.here("dist\\x.deb") == "dist/x.deb"
    assert away.here("\\\\server\\share\\x.deb") == f"{ROOT}/server/share/x.deb"


def test_variables_are_those_of_the_users_shell(
    at_home: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIVEN", "here")
    assert away.variable("GIVEN") == "here"
    at_home(variables={"OTHER": "there"})
    assert (away.variable("GIVEN"), away.variable("OTHER")) == (None, "there")
