"""What is typed after `postroj cp`."""

from __future__ import annotations

import pytest

from postroj.transfer.copy import Place, place


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("web:/etc/x", Place("web", "/etc/x")),
        ("web:etc", Place("web", "/etc")),
        ("web:", Place("web", "/")),
        ("web://x", Place("web", "/x")),
        ("postroj-0123abcd:/a:b\n", Place("postroj-0123abcd", "/a:b\n")),
        ("-", Place("", "-")),
        ("./web:x", Place("", "./web:x")),
        ("/srv/web:x", Place("", "/srv/web:x")),
        ("Web:x", Place("", "Web:x")),
        ("file", Place("", "file")),
    ],
)
def test_place_parses_guests_and_host_paths(text: str, found: Place) -> None:
    assert place(text) == found


@pytest.mark.parametrize(
    ("path", "name", "is_content", "is_folder"),
    [
        ("/", "", True, True),
        ("/.", "", True, True),
        ("/etc/", "etc", False, True),
        ("/etc/.", "etc", True, True),
        ("/etc/.hidden", ".hidden", False, False),
        ("/a/../b", "b", False, False),
    ],
)
def test_name_of_a_place(path: str, name: str, is_content: bool, is_folder: bool) -> None:
    found = Place("web", path)
    assert (found.name, found.is_content, found.is_folder) == (name, is_content, is_folder)
