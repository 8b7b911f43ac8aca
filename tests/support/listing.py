"""All that is to know of a tree of files; as a program it prints that of a folder as JSON."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any


def listing(root: Path) -> dict[str, Any]:
    """What is known of each path below `root`, and of itself as `.`."""
    links: dict[tuple[int, int], str] = {}
    found = {".": facts(root, ".", links)}
    for folder, folders, files in os.walk(root):
        folders.sort()
        for name in sorted([*folders, *files]):
            path = Path(folder) / name
            found[str(path.relative_to(root))] = facts(path, str(path.relative_to(root)), links)
    return found


def facts(path: Path, name: str, links: dict[tuple[int, int], str]) -> dict[str, Any]:
    status = path.lstat()
    known: dict[str, Any] = {
        "mode": stat.filemode(status.st_mode),
        "owner": (status.st_uid, status.st_gid),
        "time": int(status.st_mtime),
        "xattrs": xattrs(path),
    }
    if stat.S_ISLNK(status.st_mode):
        known["target"] = str(path.readlink())
    if stat.S_ISREG(status.st_mode):
        known["content"] = hashlib.sha256(path.read_bytes()).hexdigest()
        known["same as"] = links.setdefault((status.st_dev, status.st_ino), name)
        known["links"] = status.st_nlink
    if stat.S_ISBLK(status.st_mode) or stat.S_ISCHR(status.st_mode):
        known["device"] = status.st_rdev
    return known


def xattrs(path: Path) -> dict[str, str]:
    try:
        keys = sorted(os.listxattr(path, follow_symlinks=False))
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:  # what squashfs says where there are none
            raise
        return {}
    return {key: os.getxattr(path, key, follow_symlinks=False).hex() for key in keys}


def mounted(script: str, *words: object) -> dict[str, Any]:
    """What is on `$0` after a shell script has mounted it, which nobody else sees."""
    argv = ["unshare", "--mount", "--propagation", "private", "sh", "-euc"]
    script += f'; exec {sys.executable} {__file__} "$0"'
    done = subprocess.run(
        [*argv, script, *map(str, words)],
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr.decode()
    found: dict[str, Any] = json.loads(done.stdout)
    return found


if __name__ == "__main__":
    print(json.dumps(listing(Path(sys.argv[1]))))
