"""Images that the tests share: the system's own cache, so that a second run finds them there."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from postroj.container.spec import GuestSpec
from postroj.container.start import StartedGuest, start_guest
from postroj.errors import DownloadError
from postroj.image import pull
from postroj.image.catalog import catalog
from postroj.image.pull import Request
from postroj.prepare import obtain
from tests.support.cli import DEFAULT_IMAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(scope="session")
def pulled() -> Callable[[str], str]:
    """Make sure that an image is stored; one process at a time does, the others wait."""

    def ensure(name: str) -> str:
        entry = catalog.find(name)
        try:
            pull.pull(entry)
        except DownloadError as error:
            # a mirror that lags is met by the user's own choice, as the message says
            if "--allow-expired" not in error.hint:
                raise
            pull.pull(entry, Request(allow_expired=True))
        return entry.name

    return ensure


@pytest.fixture(scope="session")
def image(pulled: Callable[[str], str]) -> str:
    """The image of the tests that need any."""
    return pulled(DEFAULT_IMAGE)


@pytest.fixture
def state_dir(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Run directories of this test alone; in a short path, as a socket lies there."""
    with tempfile.TemporaryDirectory(prefix="s-") as folder:
        monkeypatch.setenv("POSTROJ_STATE_DIR", folder)
        yield Path(folder)


@pytest.fixture(scope="module")
def guest(image: str) -> Iterator[StartedGuest]:
    """A booted guest which the tests of a module share."""
    with obtain(image) as stored, start_guest(GuestSpec(layers=stored.layers)) as booted:
        yield booted
