"""What a guest has written, read from the writable layer while it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from postroj.container.guest import FileKind, Written
from postroj.container.spec import GuestSpec
from postroj.container.start import start_guest
from postroj.image.unpack import pack
from postroj.model import NetworkMode
from postroj.prepare import obtain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from postroj.container.start import StartedGuest

BELOW = """
mkdir -p /srv/below/inner /srv/hidden
touch /srv/below/inner/file /srv/hidden/old
rm /etc/issue
"""
ABOVE = r"""
echo more >> /srv/below/inner/file
touch /srv/new "/srv/a
line"
ln -s /etc/shadow /srv/link
rm /etc/issue.net
touch /etc/issue
rm -r /srv/hidden
mkdir /srv/hidden
touch /srv/hidden/young
mkdir -p /srv/made/then
rm -r /srv/made
chmod 600 /etc/hosts
touch /tmp/volatile /run/volatile
"""


@pytest.fixture(scope="module")
def guest(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartedGuest]:
    """A guest on a layer that another guest has written."""
    layer = tmp_path_factory.mktemp("layer") / "below.squashfs"
    with obtain(image) as stored:
        below = GuestSpec(layers=stored.layers, boot=False, network=NetworkMode.NONE)
        with start_guest(below) as first:
            first.run(["sh", "-ec", BELOW])
            pack.squash_output(first.layer_argv(), layer)
        spec = GuestSpec(layers=(*stored.layers, layer), network=NetworkMode.NONE)
        with start_guest(spec) as second:
            yield second


def write(guest: StartedGuest) -> dict[str, Written]:
    """Have the guest write, and return what is new in its layer."""
    before = guest.written()
    guest.run(["sh", "-ec", ABOVE])
    return {path: now for path, now in guest.written().items() if before.get(path) != now}


def test_written_tells_new_changed_and_removed_files_apart(guest: StartedGuest) -> None:
    found = write(guest)

    def of(path: str) -> tuple[FileKind, bool]:
        return found[path].kind, found[path].is_below

    assert of("/srv/new") == (FileKind.FILE, False)
    assert of("/srv/a\nline") == (FileKind.FILE, False)
    assert of("/srv/link") == (FileKind.LINK, False)
    assert of("/srv/below/inner/file") == (FileKind.FILE, True)
    assert of("/srv/below/inner") == (FileKind.FOLDER, True)
    assert of("/etc/issue.net") == (FileKind.GONE, True)
    assert of("/etc/issue") == (FileKind.FILE, False)  # the layer below has removed it
    assert of("/srv/hidden") == (FileKind.FOLDER, True)
    assert found["/srv/hidden"].hides_below
    assert of("/srv/hidden/young") == (FileKind.FILE, False)
    assert (found["/etc/hosts"].mode, found["/etc/hosts"].is_below) == (0o600, True)
    assert not [path for path in found if path.startswith(("/srv/made", "/tmp", "/run"))]
    assert found["/srv/below/inner/file"].size == 5
