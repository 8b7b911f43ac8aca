"""Small real .deb packages, built by the real dpkg-deb."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SERVICE = """\
[Unit]
Description={name} of the tests
[Service]
Type={kind}
ExecStart={command}
{more}
[Install]
WantedBy=multi-user.target
"""

START = """\
#!/bin/sh
set -e
systemctl daemon-reload
systemctl enable --quiet {unit}
systemctl start --no-block {unit}
"""


def build(
    folder: Path,
    name: str,
    *,
    version: str = "1.0",
    architecture: str = "all",
    depends: str = "",
    fields: Mapping[str, str] | None = None,
    files: Mapping[str, str | bytes] | None = None,
    scripts: Mapping[str, str] | None = None,
    latest: int | None = None,
) -> Path:
    """Build NAME_VERSION_ARCHITECTURE.deb in `folder`; what lies in a `bin` is executable.

    `fields` are further ones of its control file. No file is newer than `latest`, in seconds since
    the epoch.
    """
    tree = folder / f"{name}-{version}-tree"
    control = {
        "Package": name,
        "Version": version,
        "Architecture": architecture,
        "Maintainer": "Tests <tests@mirror.example>",
        "Depends": depends,
        **(fields or {}),
        "Description": "made by the tests of postroj",
    }
    lines = "".join(f"{key}: {value}\n" for key, value in control.items() if value)
    for path, text in {"DEBIAN/control": lines, **(files or {})}.items():
        target = tree / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(text if isinstance(text, bytes) else text.encode())
        target.chmod(0o755 if "/bin/" in path else 0o644)
    for script, text in (scripts or {}).items():
        target = tree / "DEBIAN" / script
        target.write_text(text)
        target.chmod(0o755)
    deb = folder / f"{name}_{version}_{architecture}.deb"
    argv = ["dpkg-deb", "--build", "--root-owner-group", str(tree), str(deb)]
    env = os.environ | ({} if latest is None else {"SOURCE_DATE_EPOCH": str(latest)})
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, env=env)
    return deb


def service(folder: Path, name: str, command: str, *, kind: str = "simple", more: str = "") -> Path:
    """Build a package with one service, enabled and started by its postinst."""
    unit = SERVICE.format(name=name, kind=kind, command=command, more=more)
    return build(
        folder,
        name,
        files={f"/lib/systemd/system/{name}.service": unit},
        scripts={"postinst": START.format(unit=f"{name}.service")},
    )
