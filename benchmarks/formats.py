"""Compare file formats of a layer: time to pack, size, and time to boot.

    sudo .venv/bin/python benchmarks/formats.py [--runs N] [--cold]

One tool packs one image in several ways. Boots take turns in one process and are compared with
those of the first format. `--cold` drops the page cache of the whole host before each boot, so do
not use the host meanwhile.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from pairs import run

from postroj.container.spec import GuestSpec
from postroj.container.start import start_guest
from postroj.image import architectures, pull
from postroj.image.catalog import catalog
from postroj.image.store import store
from postroj.prepare import obtain

IMAGE = "debian-bookworm"
FORMATS = {
    "lz4": "--compressor lz4",
    "lz4, blocks of 1 MiB": "--compressor lz4 --block-size 1M",
    "lz4, blocks of 32 KiB": "--compressor lz4 --block-size 32k",
    "zstd, level 1": "--compressor zstd --comp-extra level=1",
    "zstd, level 3": "--compressor zstd --comp-extra level=3",
    "zstd, level 15": "--compressor zstd --comp-extra level=15",
    "gzip": "--compressor gzip",
}
DROP = Path("/proc/sys/vm/drop_caches")


@dataclass(frozen=True)
class Packed:
    """An image, packed in one format."""

    name: str
    path: Path
    seconds: float
    """Seconds to pack it."""


def pack(folder: Path, tar: Path) -> list[Packed]:
    """Pack the image in all formats."""
    found = []
    for number, (name, options) in enumerate(FORMATS.items()):
        path = folder / f"{number}.squashfs"
        began = time.monotonic()
        run(["sh", "-c", f"tar2sqfs --quiet {options} {path} < {tar}"])
        found.append(Packed(name, path, time.monotonic() - began))
    return found


def boot(spec: GuestSpec, *, cold: bool) -> float:
    """Return the seconds until a guest is ready."""
    if cold:
        run(["sync"])
        DROP.write_text("3")
    began = time.monotonic()
    with start_guest(spec):
        return time.monotonic() - began


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--cold", action="store_true")
    options = parser.parse_args()
    pull.pull(catalog.find(IMAGE))
    record = store.require(IMAGE, architectures.of_this_host())
    with tempfile.TemporaryDirectory(dir="/var/tmp") as work, obtain(IMAGE) as image:
        tar = Path(work, "image.tar")
        run(["sh", "-c", f"sqfs2tar {record.path} > {tar}"])
        formats = pack(Path(work), tar)
        tar.unlink()
        times: dict[str, list[float]] = {packed.name: [] for packed in formats}
        for _ in range(options.runs + 1):
            for packed in formats:
                spec = GuestSpec(layers=(packed.path, *image.layers[1:]))
                times[packed.name].append(boot(spec, cold=options.cold))
        first = statistics.median(times[formats[0].name][1:])
        print(f"{'format':22} {'pack':>7} {'size':>7} {'ready':>8} {'beside the first':>17}")
        for packed in formats:
            ready = statistics.median(times[packed.name][1:])
            size = packed.path.stat().st_size / 1e6
            print(
                f"{packed.name:22} {packed.seconds:5.1f} s {size:4.0f} MB {ready:6.3f} s"
                f" {ready / first:17.2f}"
            )


if __name__ == "__main__":
    main()
