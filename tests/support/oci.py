"""Images made of layers: OCI layouts, and a real registry on a free port of this host."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from postroj.image import architectures
from postroj.image.architectures import of_this_host
from tests.support.cli import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

OCI = "application/vnd.oci.image"
HERE = architectures.OCI[of_this_host()]
"""The architecture of this host, as registries have it."""

USER, PASSWORD = "tester", "correct horse"
HTPASSWD = f"{USER}:$2y$05$abcdefghijklmnopqrstuuHNbAKRhpaujgo33bRWs.NLUTJO3lOy2\n"


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def media_type(layer: bytes) -> str:
    """The media type of a layer, by its first bytes."""
    suffix = {b"\x1f\x8b": "+gzip", b"\x28\xb5": "+zstd"}.get(layer[:2], "")
    return f"{OCI}.layer.v1.tar{suffix}"


@dataclass(frozen=True)
class Layout:
    """An OCI layout that is being made in a folder."""

    folder: Path

    def blob(self, data: bytes, kind: str, **more: Any) -> dict[str, Any]:
        """Add a file; what a manifest says of it."""
        path = self.folder / "blobs/sha256" / digest(data)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        about = {"mediaType": kind, "digest": f"sha256:{digest(data)}", "size": len(data)}
        return about | more

    def document(self, content: Mapping[str, Any], kind: str, **more: Any) -> dict[str, Any]:
        return self.blob(json.dumps(content).encode(), kind, **more)

    def image(self, layers: Sequence[bytes], machine: str = HERE, **more: Any) -> dict[str, Any]:
        """Add an image."""
        config = {
            "architecture": machine,
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest(one)}" for one in layers]},
        }
        kind = f"{OCI}.manifest.v1+json"
        content = {
            "schemaVersion": 2,
            "mediaType": kind,
            "config": self.document(config, f"{OCI}.config.v1+json"),
            "layers": [self.blob(layer, media_type(layer)) for layer in layers],
        }
        return self.document(content, kind, **more)

    def index(self, *images: dict[str, Any]) -> dict[str, Any]:
        """Add an index of images."""
        kind = f"{OCI}.index.v1+json"
        content = {"schemaVersion": 2, "mediaType": kind, "manifests": list(images)}
        return self.document(content, kind)

    def finish(self, *images: dict[str, Any]) -> Path:
        """Write what makes it a layout of these."""
        index = {"schemaVersion": 2, "manifests": list(images)}
        (self.folder / "index.json").write_text(json.dumps(index))
        (self.folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        return self.folder


def platform(machine: str, **more: str) -> dict[str, Any]:
    return {"platform": {"os": "linux", "architecture": machine, **more}}


@dataclass(frozen=True)
class Registry:
    """A docker-registry that runs."""

    address: str
    storage: Path
    creds: str = ""

    def push(self, layout: Path, name: str) -> str:
        """Fill it with all of a layout by skopeo; its reference."""
        creds = [f"--dest-creds={self.creds}"] if self.creds else []
        subprocess.run(
            [
                *("skopeo", "copy", "--quiet", "--all", "--preserve-digests"),
                *("--dest-tls-verify=false", *creds),
                *(f"oci:{layout}", f"docker://{self.address}/{name}"),
            ],
            check=True,
        )
        return f"{self.address}/{name}"

    def blob(self, hexadecimal: str) -> Path:
        """The file in which it keeps a blob."""
        blobs = self.storage / "docker/registry/v2/blobs/sha256"
        return blobs / hexadecimal[:2] / hexadecimal / "data"


@contextmanager
def registry(folder: Path, *, private: bool = False) -> Iterator[Registry]:
    """Run one on a free port, as Debian packages it."""
    folder.mkdir()
    config: dict[str, Any] = {
        "version": "0.1",
        "log": {"accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(folder / "storage")}},
        "http": {"addr": "127.0.0.1:0"},
    }
    if private:
        (folder / "htpasswd").write_text(HTPASSWD)
        config["auth"] = {"htpasswd": {"realm": "tests", "path": str(folder / "htpasswd")}}
    (folder / "config.json").write_text(json.dumps(config))  # YAML as well
    argv = ["docker-registry", "serve", str(folder / "config.json")]
    log = folder / "log"
    with log.open("wb") as said, subprocess.Popen(argv, stderr=said) as process:
        try:
            pattern = r"listening on (127\.0\.0\.1:\d+)"
            assert eventually(lambda: re.search(pattern, log.read_text())), log.read_text()
            address = re.findall(pattern, log.read_text())[0]
            creds = f"{USER}:{PASSWORD}" if private else ""
            yield Registry(address, folder / "storage", creds)
        finally:
            process.kill()
