"""The disk with what a machine gets of its host at each boot: a tar, see `init.sh`."""

from __future__ import annotations

import io
import shlex
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import postroj
from postroj import user
from postroj.container.boot.launch import overlay_options
from postroj.container.boot.seed import write_seed
from postroj.model import NetworkMode

if TYPE_CHECKING:
    from postroj.container.spec import GuestSpec

HERE = Path(postroj.__file__).parent
MODULES = (
    *("__init__", "errors", "locking", "model", "process", "streams", "user"),
    *("container/__init__", "container/capabilities", "container/guest"),
    *("container/held", "container/kernel", "container/limits"),
    *("container/manager", "container/naming"),
    *("container/cgroup/__init__", "container/cgroup/devices", "container/cgroup/group"),
    *("container/cgroup/hierarchies", "container/cgroup/memory", "container/cgroup/processes"),
    *("container/cgroup/tree", "container/layer", "container/network/__init__"),
    *("container/network/netns", "container/observe/__init__", "container/observe/connect"),
    *("container/observe/files", "container/observe/processes", "container/observe/resolve"),
    *("container/observe/sockets", "container/observe/written"),
    *(
        "machine/__init__",
        "machine/answers",
        "machine/call",
        "machine/commands",
        "machine/relay",
        "machine/server",
    ),
)
"""The modules that the server in a machine imports."""
INIT = "/sbin/init"


def write_seed_disk(spec: GuestSpec, run_dir: Path, hostname: str, resolv_conf: str) -> None:
    """Write `seed.tar` into the run directory.

    :raises OSError: if it cannot be written, or a bound file cannot be read.
    """
    write_seed(run_dir, hostname, resolv_conf)
    with tarfile.open(run_dir / "seed.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        _add_text(tar, "settings", _settings(spec))
        for module in MODULES:
            tar.add(HERE / f"{module}.py", f"server/postroj/{module}.py", filter=_as_root)
        tar.add(run_dir / "seed", "seed", filter=_as_root)
        _add_folder(tar, "run")
        for bind in spec.binds:
            _add_file(tar, bind.source, f"run{bind.target.removeprefix('/run')}")


def _settings(spec: GuestSpec) -> str:
    network = "dhcp" if spec.network is NetworkMode.PRIVATE else ""
    # layers that a user has made name their folders that hide others as overlays of users do
    overlay = overlay_options(root=user.is_root())
    values = {"network": network, "init": INIT, "overlay": overlay}
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items())


def _as_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    return member


def _add_text(tar: tarfile.TarFile, name: str, text: str) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(text.encode())
    tar.addfile(member, io.BytesIO(text.encode()))


def _add_folder(tar: tarfile.TarFile, name: str) -> None:
    member = tarfile.TarInfo(name)
    member.type, member.mode = tarfile.DIRTYPE, 0o755
    tar.addfile(member)


def _add_file(tar: tarfile.TarFile, source: Path, name: str) -> None:
    """Add a file and the folders above it; a link as the file that it leads to."""
    for above in reversed(Path(name).parents[:-2]):
        _add_folder(tar, str(above))
    tar.add(source.resolve(), name, filter=_as_root)
