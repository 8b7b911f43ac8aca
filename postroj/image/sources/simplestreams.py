"""Source `simplestreams`: find the newest build of a product through an index, and download it.

    SERVER/streams/v1/index.json     lists files of products
    SERVER/streams/v1/images.json    product -> versions -> items, each with path, size, SHA-256

A signed index is either `index.sjson` (inline) or `index.json` with `index.json.gpg`. Items are
found by their `ftype`; their keys in the table are arbitrary. The index is untrusted data and may
only name files below its server.
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
"""Limits in bytes."""

SQUASHFS, ARCHIVE = FTYPES = ("squashfs", "root.tar.xz")
"""File types that can become an image, the preferred first."""

# Excludes everything with a special meaning in a URL: `//`, `..`, `%2e`, `?`.
SEGMENT = r"(?!\.{1,2}(?:/|$))[A-Za-z0-9._:+~@=,-]+"
PATH = re.compile(rf"{SEGMENT}(?:/{SEGMENT})*")
NAME = re.compile(r"[A-Za-z0-9._:+~-]{1,100}")
"""Of versions and products."""


Table = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Item:
    """One file of a build."""

    version: str
    """Version of the build, as `20260814_05:24`; versions sort by age."""
    ftype: str
    url: str
    size: int
    sha256: str


def build(source: Simplestreams, order: Order) -> Built:
    """Download the newest build of a product, or the pinned one.

    :raises DownloadError: if a download fails.
    :raises VerificationError: if a file is not what its publisher signed.
    :raises ImageError: if there is no such build, or it cannot be used.
    """
    index = Index(source, allow_expired=order.allow_expired_keys)
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
        expired_signature=index.expired,
    )


def _fetch(item: Item, order: Order, write: Callable[[bytes], int]) -> None:
    """Download an item and check size and digest.

    :raises VerificationError: if either differs from the index.
    """
    name = f"'{redacted(item.url)}'"
    # The digest proves the content, so redirects may lead anywhere.
    with net.stream(item.url, progress=order.progress, allow_downgrade=True) as body:
        for chunk in body:
            write(chunk)
            if body.done > item.size:
                break
    if body.done != item.size:
        message = f"{name} does not have the size that the index states"
        received = "more" if body.done > item.size else body.done
        raise VerificationError(
            message, evidence=f"expected {item.size} bytes, received {received}", hint=verify.HINT
        )
    verify.check_digest(name, Checksum(name, "sha256", item.sha256), body.sha256)


class Index:
    """The index of a server, and how it was verified."""

    def __init__(self, source: Simplestreams, *, allow_expired: bool) -> None:
        self.server, self.key = source.server.rstrip("/"), source.key
        self.allow_expired = allow_expired
        self.fingerprints: tuple[str, ...] = ()
        """Fingerprints of all keys that signed the index."""
        self.expired = False
        """Whether a signature or key has expired."""
        self._known: dict[str, Table] = {}

    def items(self, product: str) -> list[Item]:
        """Return the usable files of all builds of a product.

        :raises DownloadError: if the index cannot be downloaded.
        :raises VerificationError: if the key has not signed the index, or it leads out of its
            server.
        :raises AbsentError: if it does not list the product.
        :raises ImageError: if it cannot be read.
        """
        known: list[str] = []
        for entry in _tables(self.read(INDEX), "index").values():
            names = entry.get("products")
            listed = list(filter(NAME.fullmatch, map(str, names))) if type(names) is list else []
            known += listed
            if product in listed:
                products = _tables(self.read(str(entry.get("path"))), "products")
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
        """Return the URL of a path in the index.

        :raises VerificationError: if it leads out of the server.
        """
        if not PATH.fullmatch(path):
            message = f"the index of '{redacted(self.server)}' leads out of its server"
            raise VerificationError(message, evidence=f"it contains the path {path[:200]!r}")
        return f"{self.server}/{path}"

    def read(self, path: str) -> Table:
        """Return the content of a file of the index, which is fetched once.

        :raises DownloadError: if it cannot be downloaded.
        :raises VerificationError: if the key has not signed it.
        :raises ImageError: if it is not JSON.
        """
        if path not in self._known:
            url = self._url(path)
            try:
                data = json.loads(self._fetch(url))
            except (ValueError, RecursionError) as error:
                message = f"'{redacted(url)}' is not JSON"
                raise ImageError(message, evidence=str(error)) from None
            self._known[path] = data if isinstance(data, dict) else {}
        return self._known[path]

    def _fetch(self, url: str) -> bytes:
        """Return the content of an index file, verified if the source has a key."""
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
    """Download the detached signature of a file.

    :raises VerificationError: if there is none.
    """
    try:
        return net.fetch_small(url + ".gpg", limit=SIGNATURE_LIMIT)
    except AbsentError as error:
        message = f"'{redacted(url)}' is not signed"
        raise VerificationError(message, evidence=error.evidence) from None


def _tables(table: Table, key: str) -> dict[str, Table]:
    """Return the tables below a key of a table; skip values that are not tables."""
    found = table.get(key)
    found = found.items() if isinstance(found, dict) else ()
    return {name: value for name, value in found if isinstance(value, dict)}


def choose(items: list[Item], source: Simplestreams, order: Order) -> Item:
    """Return the pinned item, or the preferred item of the newest build.

    :raises VerificationError: if the newest build is older than the cached one, or the pinned item
        has been replaced.
    :raises ImageError: if the pinned build is gone.
    """
    if order.pinned:
        return _pinned(items, order.pinned)
    newest = max(item.version for item in items)
    previous, server = order.previous, redacted(source.server.rstrip("/"))
    if previous and previous.url.startswith(server + "/") and newest < previous.build:
        message = f"'{server}' offers an older '{order.entry.name}' than the cached one"
        evidence = f"its newest build is {newest}, the cached one {previous.build}"
        hint = f"if the publisher withdrew a build: `postroj remove {order.entry.name}`, then pull"
        raise VerificationError(message, evidence=evidence, hint=hint)
    build = [item for item in items if item.version == newest]
    return min(build, key=lambda item: FTYPES.index(item.ftype))


def _pinned(items: list[Item], pinned: Provenance) -> Item:
    build = [item for item in items if item.version == pinned.build]
    if not build:
        message = f"the pinned build {pinned.build} is gone from the server"
        others = sorted({item.version for item in items})
        hint = "publishers keep only the latest builds: pin a newer one"
        raise ImageError(message, evidence=f"it has {', '.join(others)}", hint=hint)
    for item in build:
        if item.sha256 == pinned.artifact:
            return item
    message = f"the build {pinned.build} has changed since it was pinned"
    evidence = "\n".join(f"{item.ftype}: SHA-256 {item.sha256}" for item in build)
    raise VerificationError(message, evidence=f"pinned: SHA-256 {pinned.artifact}\n{evidence}")
