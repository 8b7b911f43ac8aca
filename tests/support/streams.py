"""A simplestreams tree as a publisher makes it, and as somebody who means harm does."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.pgp import Gpg

PRODUCT = "debian:trixie:amd64:default"


@dataclass
class Tree:
    """The files of a server, with one product."""

    folder: Path
    versions: dict[str, Any] = field(default_factory=dict)

    def add(self, version: str, data: bytes, ftype: str = "squashfs", **lies: Any) -> str:
        """Add a file to a build; what the index says of it may be lies. Its SHA-256."""
        path = f"images/debian/trixie/amd64/default/{version}/rootfs.{ftype}"
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / path).write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()
        item = {"ftype": ftype, "sha256": digest, "size": len(data), "path": path, **lies}
        items = self.versions.setdefault(version, {"items": {}})["items"]
        items[f"root.{ftype}"] = item
        items["lxd.tar.xz"] = {"ftype": "lxd.tar.xz", "path": "no/matter"}
        return digest

    def index(self, products: str = "streams/v1/images.json") -> dict[str, Any]:
        """Return the index, which says where the products are."""
        listed = [PRODUCT, "debian:trixie:arm64:default", "fedora:44:amd64:default"]
        images = {"datatype": "image-downloads", "path": products, "products": listed}
        return {"format": "index:1.0", "index": {"images": images}}

    def products(self) -> dict[str, Any]:
        """Return the products."""
        product = {"arch": "amd64", "os": "Debian", "versions": self.versions}
        return {"format": "products:1.0", "products": {PRODUCT: product}}

    def publish(self, gpg: Gpg | None = None, key: str = "", *options: str, how: str = "") -> None:
        """Write index and products, signed inline or `how="detached"` if there is a key."""
        for name, content in {"index": self.index(), "images": self.products()}.items():
            data = json.dumps(content, indent=1).encode()
            if gpg is None or how == "detached":
                self.write(f"{name}.json", data)
            if gpg and how == "detached":
                self.write(f"{name}.json.gpg", gpg.detach(data, key, *options))
            elif gpg:
                self.write(f"{name}.sjson", gpg.clearsign(data, key, *options))

    def write(self, name: str, data: bytes) -> None:
        """Write a file of the index."""
        path = self.folder / "streams/v1" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
