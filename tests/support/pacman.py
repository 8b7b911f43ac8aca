"""Small real packages of pacman, put together by the real tar, and repositories of them."""

from __future__ import annotations

import hashlib
import io
import subprocess
import tarfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


def build(
    folder: Path,
    name: str,
    *,
    version: str = "1.0-1",
    architecture: str = "any",
    depends: Sequence[str] = (),
    more: str = "",
    files: Mapping[str, str] | None = None,
    config: Mapping[str, str] | None = None,
    scripts: Mapping[str, str] | None = None,
    compression: str = "zst",
) -> Path:
    """Build NAME-VERSION-ARCHITECTURE.pkg.tar.COMPRESSION in `folder`, as makepkg lays it out.

    `config` are files, too, of which a changed one is kept; `scripts` go by the names of their
    functions (`post_install`); what lies in a `bin` is executable.
    """
    tree = folder / "trees" / f"{name}-{version}"
    fields = [("pkgname", name), ("pkgbase", name), ("pkgver", version)]
    fields += [("pkgdesc", "made by the tests of postroj"), ("builddate", "1700000000")]
    fields += [("packager", "Tests <tests@mirror.example>"), ("size", "4096")]
    fields += [("arch", architecture), *(("depend", need) for need in depends)]
    fields += [("backup", path.lstrip("/")) for path in config or {}]
    info = "".join(f"{key} = {value}\n" for key, value in fields) + more
    functions = (f"{script}() {{\n{text}\n}}\n" for script, text in (scripts or {}).items())
    meta = {".PKGINFO": info, **({".INSTALL": "".join(functions)} if scripts else {})}
    for path, text in {**meta, **(files or {}), **(config or {})}.items():
        target = tree / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        target.chmod(0o755 if "/bin/" in path else 0o644)
    package = folder / f"{name}-{version}-{architecture}.pkg.tar.{compression}"
    top = [*meta, *sorted(path.name for path in tree.iterdir() if path.name not in meta)]
    argv = ["tar", "--auto-compress", "--create", f"--file={package}", f"--directory={tree}"]
    argv += ["--owner=0", "--group=0", "--numeric-owner", "--", *top]
    subprocess.run(argv, check=True)
    return package


def repository(folder: Path, name: str, packages: Sequence[Path]) -> None:
    """Make packages in `folder` a repository, with a database as repo-add lays it out."""
    with tarfile.open(folder / f"{name}.db", "w:gz") as database:
        for package in packages:
            title, version, release, architecture = package.name.split(".pkg.")[0].rsplit("-", 3)
            tree = folder / "trees" / f"{title}-{version}-{release}"
            info = [line.partition(" = ") for line in _info(tree).splitlines()]
            needs = [value for key, _, value in info if key == "depend"]
            content = package.read_bytes()
            fields = {
                "FILENAME": [package.name],
                "NAME": [title],
                "VERSION": [f"{version}-{release}"],
                "CSIZE": [str(len(content))],
                "ISIZE": ["4096"],
                "SHA256SUM": [hashlib.sha256(content).hexdigest()],
                "ARCH": [architecture],
                "DEPENDS": needs,
            }
            text = "".join(
                f"%{key}%\n{chr(10).join(values)}\n\n" for key, values in fields.items() if values
            )
            member = tarfile.TarInfo(f"{title}-{version}-{release}/desc")
            member.size = len(text)
            database.addfile(member, io.BytesIO(text.encode()))


def _info(tree: Path) -> str:
    return (tree / ".PKGINFO").read_text()
