"""Draw the picture of README.rst from a real probe: `sudo .venv/bin/python docs/picture.py`.

It downloads the package redis-server with the apt of this host, probes it on the Debian release of
this host, and writes what the terminal shows, with its colours, to `docs/pictures/probe.svg`.
"""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from contextlib import suppress
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.text import Text

PACKAGE = "redis-server"
IMAGE = "debian-bookworm"
PICTURE = Path(__file__).parent / "pictures" / "probe.svg"
SHOWN = f"$ postroj pkgprobe --package {PACKAGE}.deb --image {IMAGE}"
WIDTH = 128


def record(folder: Path) -> str:
    """Probe the package on a pty; return the bytes of the terminal as text."""
    subprocess.run(["apt-get", "--quiet", "download", PACKAGE], cwd=folder, check=True)
    [downloaded] = folder.glob("*.deb")
    downloaded.rename(folder / f"{PACKAGE}.deb")
    argv = [sys.executable, "-m", "postroj", "pkgprobe", "--no-project"]
    argv += ["--package", f"{PACKAGE}.deb", "--image", IMAGE]
    leader, follower = pty.openpty()
    environment = {key: value for key, value in os.environ.items() if key != "NO_COLOR"}
    with (
        (folder / "stderr").open("w") as stderr,
        os.fdopen(leader, "rb", buffering=0) as terminal,
        subprocess.Popen(
            argv, cwd=folder, stdout=follower, stderr=stderr, env=environment
        ) as probe,
    ):
        os.close(follower)
        output = b""
        with suppress(OSError):  # Linux reports EIO once the other end is closed
            while part := terminal.read(65536):
                output += part
    if probe.returncode:
        message = f"the probe ended with status {probe.returncode}:\n{output.decode()}"
        raise SystemExit(message)
    return output.decode().replace("\r\n", "\n")


def draw(output: str) -> str:
    """Return a terminal with this output as SVG, which loads nothing from elsewhere."""
    console = Console(file=StringIO(), record=True, width=WIDTH, color_system="standard")
    console.print(Text(SHOWN, style="bold"), Text.from_ansi(output.rstrip()), sep="\n")
    svg = console.export_svg(title="postroj", unique_id="probe")
    return re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)


def main() -> None:
    """Record, draw and write."""
    with TemporaryDirectory() as folder:
        output = record(Path(folder))
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text(draw(output), "utf-8")
    sys.stdout.write(f"{output}\n{PICTURE}\n")


if __name__ == "__main__":
    main()
