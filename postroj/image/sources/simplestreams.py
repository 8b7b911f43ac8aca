"""The source `simplestreams`: an index, the products that it leads to, the newest build of one.

    SERVER/streams/v1/index.json     which file lists which products
    SERVER/streams/v1/images.json    product -> versions -> items, each with path, size, SHA-256

Signed, they are `index.sjson` (inline), or `index.json` beside `index.json.gpg`. An item is found
by its `ftype`, its key in the table means nothing. The index is data of strangers: it names files
below its server, and nothing else.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from postroj import net
from postroj.errors import ImageError, VerificationError
from postroj.http_errors import AbsentError
from postroj.image.catalog.entry import expand
from postroj.image.sources import Built
from postroj.image.store.record import Provenance
from postroj.image.trust import verify
from postroj.image.trust.checksums import Checksum
from postroj.image.unpack import pack, superblock
from postroj.model import SHA256, SourceKind, Verification
from postroj.urls import redacted

if TYPE_CHECKING:
    from collections.abc import Callable

    from postroj.image.catalog.entry import Simplestreams
    from postroj.image.sources import Order

INDEX = "streams/v1/index.json"
INDEX_LIMIT = 32 << 20
SIGNATURE_LIMIT = 64 << 10
"""Bytes."""

SQUASHFS, ARCHIVE = FTYPES = ("squashfs", "root.tar.xz")
"""What an image can be made of, the preferred first."""

# Nothing that a URL gives another meaning: no `//`, no `..`, no `%2e`, no `?`.
SEGMENT = r"(?!\.{1,2}(?:/|$))[A-Za-z0-9._:+~@=,-]+"
PATH = re.compile(rf"{SEGMENT}(?:/{SEGMENT})*")
NAME = re.compile(r"[A-Za-z0-9._:+~-]{1,100}")
"""Of a version or a product."""


Table = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Item:
    """One file of a build."""

    version: str
    """Of the build, as `20260814_05:24`; a later one sorts behind."""
    ftype: str
    url: str
    size: int
    sha256: str


def build(source: Simplestreams, order: Order) -> Built:
    """Fetch the newest build of a product, or the one that is pinned.

    :raises DownloadError: if something could not be fetched.
    :raises VerificationError: if something is not what its publisher vouched for.
    :raises ImageError: if there is no such build, or it cannot be used.
    """
    index = Index(source, allow_expired=order.allow_expired)
    item = choose(index.items(expand(source.product, order.architecture)), source, order)
    target = order.directory / "image.squashfs"
    order.progress.describe("download")
    if item.ftype == SQUASHFS:
        with target.open("xb") as file:
            _fetch(item, order, file.write)
        superblock.check(target)
        return Built(target, _provenance(item, index, order), item.sha256)
    with pack.Packer(target) as packer:
        _fetch(item, order, packer.write)
    return Built(target, _provenance(item, index, order))


def _provenance(item: Item, index: Index, order: Order) -> Provenance:
    if index.fingerprints:
        verification = Verification.SIGNATURE
    elif order.pinned:
        verification = Verification.DIGEST
    else:
        tls = item.url.startswith("https:")
        verification = Verification.TLS if tls else Verification.NONE
    return Provenance(
        source=SourceKind.SIMPLESTREAMS,
        url=redacted(item.url),
        build=item.version,
        artifact=item.sha256,
        compression="" if item.ftype == SQUASHFS else pack.COMPRESSION,
        verification=verification,
        fingerprints=index.fingerprints,
        allow_expired=index.expired,
    )


def _fetch(item: Item, order: Order, write: Callable[[bytes], int]) -> None:
    """Fetch an item; nothing but what the index vouches for ends without an error.

    :raises VerificationError: if it is something else.
    """
    name = f"'{redacted(item.url)}'"
    # The index vouches for the content, wherever a redirect leads.
    with net.stream(item.url, progress=order.progress, allow_downgrade=True) as body:
        for chunk in body:
            write(chunk)
            if body.done > item.size:
                break
    if body.done != item.size:
        message = f"{name} does not have the size that its index lists"
        received = "more" if body.done > item.size else body.done
        raise VerificationError(
            message, evidence=f"expected {item.size} bytes, received {received}", hint=verify.HINT
        )
    verify.check_digest(name, Checksum(name, "sha256", item.sha256), body.sha256)


class Index:
    """The index of a server, and what was verified of it."""

    def __init__(self, source: Simplestreams, *, allow_expired: bool) -> None:
        self.server, self.key = source.server.rstrip("/"), source.key
        self.allow_expired = allow_expired
        self.fingerprints: tuple[str, ...] = ()
        """Of the keys that signed all of it."""
        self.expired = False
        """Whether one of them has expired."""

    def items(self, product: str) -> list[Item]:
        """Return all files of all builds of a product of which an image can be made.

        :raises DownloadError: if the index could not be fetched.
        :raises VerificationError: if it is not signed by the key, or leads elsewhere.
        :raises AbsentError: if it does not have the product.
        :raises ImageError: if it cannot be read.
        """
        known: list[str] = []
        for entry in _tables(self._read(INDEX), "index").values():
            names = entry.get("products")
            listed = list(filter(NAME.fullmatch, map(str, names))) if type(names) is list else []
            known += listed
            if product in listed:
                products = _tables(self._read(str(entry.get("path"))), "products")
                if items := self._items(products.get(product, {})):
                    return items
        family = product.partition(":")[0] + ":"
        others = [one for one in known if one.startswith(family)]
        message = f"'{redacted(self.server)}' has no image '{product}'"
        raise AbsentError(
            message, evidence="\n".join(["it lists:", *others[:20]] if others else [])
        )

    def _items(self, product: Table) -> list[Item]:
        return [
            self._item(version, item)
            for version, build in _tables(product, "versions").items()
            if NAME.fullmatch(version)
            for item in _tables(build, "items").values()
            if item.get("ftype") in FTYPES
        ]

    def _item(self, version: str, item: Table) -> Item:
        url = self._url(str(item.get("path")))
        size, sha256 = item.get("size"), str(item.get("sha256")).lower()
        if not isinstance(size, int) or size <= 0 or not SHA256.fullmatch(sha256):
            message = f"the index lists '{redacted(url)}' without its size or its SHA-256"
            raise ImageError(message)
        return Item(version=version, ftype=item["ftype"], url=url, size=size, sha256=sha256)

    def _url(self, path: str) -> str:
        """Return the URL of a file that the index names.

        :raises VerificationError: if it is not below the server's.
        """
        if not PATH.fullmatch(path):
            message = f"the index of '{redacted(self.server)}' leads out of its server"
            raise VerificationError(message, evidence=f"it names the path {path[:200]!r}")
        return f"{self.server}/{path}"

    def _read(self, path: str) -> Table:
        url = self._url(path)
        try:
            data = json.loads(self._fetch(url))
        except (ValueError, RecursionError) as error:
            message = f"'{redacted(url)}' is no JSON"
            raise ImageError(message, evidence=str(error)) from None
        return data if isinstance(data, dict) else {}

    def _fetch(self, url: str) -> bytes:
        """Return what a file of the index holds, verified if there is a key."""
        if not self.key:
            return net.fetch_small(url, limit=INDEX_LIMIT)
        signature = None
        try:
            data = net.fetch_small(url.removesuffix(".json") + ".sjson", limit=INDEX_LIMIT)
        except AbsentError:
            data = net.fetch_small(url, limit=INDEX_LIMIT)
            signature = _signature(url)
        name = f"'{redacted(url)}'"
        signed = verify.check_signature(
            data, signature, self.key, name=name, allow_expired=self.allow_expired
        )
        self.fingerprints = tuple(dict.fromkeys((*self.fingerprints, *signed.fingerprints)))
        self.expired |= signed.expired
        return signed.text


def _signature(url: str) -> bytes:
    """Fetch the detached signature of a file.

    :raises VerificationError: if there is none.
    """
    try:
        return net.fetch_small(url + ".gpg", limit=SIGNATURE_LIMIT)
    except AbsentError as error:
        message = f"'{redacted(url)}' is not signed"
        raise VerificationError(message, evidence=error.evidence) from None


def _tables(table: Table, key: str) -> dict[str, Table]:
    """Return the tables in a table of a table; what is none does not count."""
    found = table.get(key)
    found = found.items() if isinstance(found, dict) else ()
    return {name: value for name, value in found if isinstance(value, dict)}


def choose(items: list[Item], source: Simplestreams, order: Order) -> Item:
    """Return the item that is pinned, or the best one of the newest build.

    :raises VerificationError: if it is older than what we have, or not what was pinned.
    :raises ImageError: if what is pinned is gone.
    """
    if order.pinned:
        return _pinned(items, order.pinned)
    newest = max(item.version for item in items)
    previous, server = order.previous, redacted(source.server.rstrip("/"))
    if previous and previous.url.startswith(server + "/") and newest < previous.build:
        message = f"'{server}' offers an older '{order.entry.name}' than the one that is cached"
        evidence = f"the newest build it lists is {newest}, the one that is cached {previous.build}"
        hint = f"if its publisher took that back: `postroj remove {order.entry.name}`, then pull"
        raise VerificationError(message, evidence=evidence, hint=hint)
    build = [item for item in items if item.version == newest]
    return min(build, key=lambda item: FTYPES.index(item.ftype))


def _pinned(items: list[Item], pinned: Provenance) -> Item:
    build = [item for item in items if item.version == pinned.build]
    if not build:
        message = f"the build {pinned.build} that is pinned is gone from its server"
        others = sorted({item.version for item in items})
        hint = "publishers keep the latest builds only: pin a newer one"
        raise ImageError(message, evidence=f"it has {', '.join(others)}", hint=hint)
    for item in build:
        if item.sha256 == pinned.artifact:
            return item
    message = f"the build {pinned.build} is not the one that was pinned"
    evidence = "\n".join(f"{item.ftype}: SHA-256 {item.sha256}" for item in build)
    raise VerificationError(message, evidence=f"pinned: SHA-256 {pinned.artifact}\n{evidence}")
