"""Entries of a catalog, and orders to sources, for tests that need some."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from postroj.console import Silence
from postroj.image import architectures
from postroj.image.catalog.entry import Bootstrap, Entry
from postroj.image.sources import Order
from postroj.image.store import store
from postroj.image.store.record import Provenance
from postroj.model import Manager, SourceKind, Verification

if TYPE_CHECKING:
    from pathlib import Path

    from postroj.image.catalog.entry import Source
    from postroj.image.store.record import Record


SIGNED: dict[str, Any] = {
    "source": SourceKind.BOOTSTRAP,
    "url": "http://mirror.example/debian",
    "build": "one",
    "verification": Verification.SIGNATURE,
    "fingerprints": ("0123456789ABCDEF0123456789ABCDEF01234567", "F" * 40),
}
"""The origin of an image that its distribution signed."""


def entry(name: str, *sources: Source, **others: Any) -> Entry:
    """An entry of a catalog with these sources."""
    usual: dict[str, Any] = {
        "distribution": name.partition("-")[0],
        "release": name.partition("-")[2],
        "version": "",
        "title": name,
        "aliases": (),
        "end_of_life": None,
        "architectures": (architectures.of_this_host(),),
        "manager": Manager.APT,
        "systemd": None,
        "packages": (),
        "repositories": (),
        "unbootable": "",
    }
    return Entry(name=name, sources=sources, **(usual | others))


def order(wanted: Entry, directory: Path, **others: Any) -> Order:
    """An order for an image of this host's architecture."""
    usual: dict[str, Any] = {"architecture": architectures.of_this_host(), "progress": Silence()}
    return Order(entry=wanted, directory=directory, **(usual | others))


def bootstrap_source(wanted: Entry, *, archived: bool = False) -> Bootstrap:
    """The source of an entry that is bootstrapped, from a mirror or from the archive."""
    found = (source for source in wanted.sources if isinstance(source, Bootstrap))
    (source,) = (source for source in found if bool(source.mirrors) == archived)
    return source


def put(
    name: str,
    content: bytes = b"hsqs",
    architecture: str = "x86_64",
    *,
    systemd: int | None = None,
    **provenance: Any,
) -> Record:
    """Store a file as an image, whatever it is."""
    usual: dict[str, Any] = {
        "source": SourceKind.IMPORT,
        "url": "/srv/image.tar",
        "build": "",
        "artifact": "",
        "compression": "lz4",
        "verification": Verification.NONE,
    }
    store.prepare()
    with store.building(name, architecture) as directory:
        file = directory / "image.squashfs"
        file.write_bytes(content)
        origin = Provenance(**(usual | provenance))
        return store.add(
            name, architecture, Manager.APT, file, origin, prepared=(), systemd=systemd
        )
