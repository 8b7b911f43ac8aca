"""Small real .rpm packages, built by the real rpmbuild, and repositories of them."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

SPEC = """\
Name: {name}
Version: {version}
Release: {release}
Summary: made by the tests of postroj
License: MIT
{architecture}
{tags}
%description
Made by the tests of postroj.
%prep
%build
%install
{install}
{scripts}
%files
{files}
"""


def _mark(path: str, config: Collection[str], replaced: Collection[str]) -> str:
    if path not in config:
        return ""
    return "%config " if path in replaced else "%config(noreplace) "


def build(
    folder: Path,
    name: str,
    *,
    version: str = "1.0",
    release: str = "1",
    architecture: str = "noarch",
    tags: str = "",
    files: Mapping[str, str] | None = None,
    config: Mapping[str, str] | None = None,
    replaced: Collection[str] = (),
    scripts: Mapping[str, str] | None = None,
    owner: str = "",
    defines: Mapping[str, str] | None = None,
) -> Path:
    """Build NAME-VERSION-RELEASE.ARCHITECTURE.rpm in `folder`.

    `config` are files, too, of which a changed one is kept, except those that are `replaced`, of
    which only a copy is kept; `scripts` go by their names in a spec (`post`, `preun`,
    `post -p <lua>`); what lies in a `bin` is executable. All files belong to `owner`, as
    `user,group` or `user,-`, if one is given.
    """
    tree = folder / "trees" / f"{name}-{version}-{release}"
    listed = {**(files or {}), **(config or {})}
    for path, text in listed.items():
        target = tree / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        target.chmod(0o755 if "/bin/" in path else 0o644)
    spec = tree.with_name(f"{tree.name}.spec")
    spec.parent.mkdir(parents=True, exist_ok=True)
    spec.write_text(
        SPEC.format(
            name=name,
            version=version,
            release=release,
            architecture="BuildArch: noarch" if architecture == "noarch" else "",
            tags=tags,
            install=f"mkdir -p %{{buildroot}}; cp -a {tree}/. %{{buildroot}}" if listed else "",
            scripts="\n".join(f"%{script}\n{text}" for script, text in (scripts or {}).items()),
            files="\n".join(
                f"{f'%attr(-,{owner}) ' if owner else ''}"
                f"{_mark(path, config or {}, replaced)}{path}"
                for path in listed
            ),
        )
    )
    options = {
        "_topdir": f"{folder}/trees/top",
        "_rpmdir": str(folder),
        "_build_name_fmt": "%%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm",
        # nothing but the files, whatever tools this host has
        "__os_install_post": "%{nil}",
        "debug_package": "%{nil}",
        "_binary_payload": "w6.gzdio",  # which every rpm can read
        **(defines or {}),
    }
    argv = ["rpmbuild", "-bb", "--quiet", f"--target={architecture}"]
    argv += [f"--define={key} {value}" for key, value in options.items()]
    done = subprocess.run([*argv, str(spec)], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / f"{name}-{version}-{release}.{architecture}.rpm"


def repository(folder: Path) -> None:
    """Make the packages in `folder` a repository."""
    argv = ["createrepo_c", "--quiet", "--general-compress-type=gz", "--no-database", str(folder)]
    subprocess.run(argv, check=True, capture_output=True)
