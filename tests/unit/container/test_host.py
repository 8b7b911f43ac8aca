"""What depends on the version of nspawn, for each version in use."""

from __future__ import annotations

from pathlib import Path

import pytest

from postroj.container import host
from postroj.container.boot import nspawn
from postroj.container.host import OLDEST, Host
from postroj.container.spec import Bind, GuestSpec
from postroj.doctor.requirements import REQUIREMENTS
from postroj.errors import HostError
from postroj.model import NetworkMode

SAID = {
    "systemd 247 (247.3-7+deb11u7)": (247, 3),
    "systemd 249 (249.11-0ubuntu3.16)": (249, 11),
    "systemd 252 (252.39-1~deb12u2)\n+PAM +AUDIT": (252, 39),
    "systemd 255 (255.4-1ubuntu8.10)": (255, 4),
    "systemd 257 (257.13-1~deb13u1)": (257, 13),
    "systemd 258 (258-1-arch)": (258, 0),
    "systemd 258 (258~rc3-1)": (258, 0),
    "systemd 258 (258.1-1.fc43)": (258, 1),
    "systemd 259 (259-1)": (259, 0),
    "systemd 262 (262.1-1)": (262, 1),
}
VERSIONS = sorted({*SAID.values()})

SINCE = {
    "--quiet": 209,
    "--capability": 186,
    "--hostname": 239,
    "--machine": 202,
    "--directory": 1,
    "--register": 209,
    "--keep-unit": 209,
    "--settings": 226,
    "--kill-signal": 220,
    "--link-journal": 187,
    "--resolv-conf": 239,
    "--timezone": 239,
    "--network-namespace-path": 236,
    "--private-network": 188,
    "--bind": 198,
    "--bind-ro": 198,
    "--boot": 1,
    "--notify-ready": 231,
    "--as-pid2": 229,
}
"""Which version of systemd-nspawn has which option, as its manual page says; 1 is "always"."""


@pytest.mark.parametrize(("said", "version"), SAID.items())
def test_version_of_each_distribution(said: str, version: tuple[int, int]) -> None:
    assert host.version(said) == version


def test_version_refuses_other_output() -> None:
    with pytest.raises(HostError, match="shows no version") as caught:
        host.version("busybox v1.36")
    assert caught.value.evidence == "busybox v1.36"


def a_host(nspawn: tuple[int, int], *, unified: bool = True, bus: bool = True) -> Host:
    return Host(nspawn=nspawn, unified=unified, bus=bus)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("systemd", [None, 230, 247, 258, 262])
def test_require_accepts_the_usual_host_and_guest(
    version: tuple[int, int], systemd: int | None
) -> None:
    host.require(a_host(version), systemd)


@pytest.mark.parametrize("version", VERSIONS)
def test_require_accepts_the_hybrid_hierarchy_before_258(version: tuple[int, int]) -> None:
    hybrid = a_host(version, unified=False)
    if version[0] < 258:
        host.require(hybrid, 262)
        return
    with pytest.raises(HostError, match=f"{version[0]} needs a host with version 2") as caught:
        host.require(hybrid, None)
    assert "systemd.unified_cgroup_hierarchy=1" in caught.value.hint


@pytest.mark.parametrize("version", VERSIONS)
def test_require_accepts_a_guest_before_230_before_258(version: tuple[int, int]) -> None:
    if version[0] < 258:
        host.require(a_host(version), 219)
        return
    with pytest.raises(HostError, match="systemd 219 of the image cannot boot here") as caught:
        host.require(a_host(version), 219)
    assert "--no-boot" in caught.value.hint


@pytest.mark.parametrize("version", VERSIONS)
def test_require_a_bus_for_258_0_alone(version: tuple[int, int]) -> None:
    alone = a_host(version, bus=False)
    if version != (258, 0):
        host.require(alone, None)
        return
    with pytest.raises(HostError, match=r"258\.0 cannot start guests") as caught:
        host.require(alone, None)
    assert "258.1" in caught.value.hint


def test_require_refuses_an_old_nspawn() -> None:
    with pytest.raises(HostError, match="systemd-nspawn 245 of this host is too old, 247 or newer"):
        host.require(a_host((245, 4)), None)


def test_doctor_requires_the_same_version_of_nspawn() -> None:
    (examine,) = [one.examine for one in REQUIREMENTS if one.name == "systemd-nspawn"]
    assert getattr(examine, "keywords", {}) == {"oldest": OLDEST}


@pytest.mark.parametrize("version", VERSIONS)
def test_environment_of_nspawn(version: tuple[int, int]) -> None:
    """Since 258 nspawn knows no other hierarchy, and no variable for it."""
    unified = "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY"
    for systemd, value in ((None, "1"), (219, "0"), (229, "0"), (230, "1"), (262, "1")):
        variables = {"SYSTEMD_SECCOMP": "0"}
        if version[0] < 258:
            variables[unified] = value
        assert host.environment(a_host(version), systemd, own_network=False) == variables
        variables["SYSTEMD_NSPAWN_API_VFS_WRITABLE"] = "network"
        assert host.environment(a_host(version), systemd, own_network=True) == variables


@pytest.mark.parametrize("boot", [True, False])
@pytest.mark.parametrize("mode", NetworkMode)
def test_nspawn_argv_has_only_options_of_the_oldest_nspawn(mode: NetworkMode, boot: bool) -> None:
    """So there is one command line for all: 247, 249, 252, 255, 257, 258, 259, 262."""
    binds = tuple(
        Bind(source=Path("/a"), target="/b", read_only=read_only) for read_only in (True, False)
    )
    spec = GuestSpec(layers=(Path("/i"),), hostname="h", network=mode, boot=boot, binds=binds)
    argv = nspawn.nspawn_argv(spec, Path("/run/postroj/postroj-ab12"))
    options = [word.partition("=")[0] for word in argv if word.startswith("--") and word != "--"]
    assert options
    assert not [option for option in options if SINCE[option] > OLDEST]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["a/libsystemd-shared-252.so"], "systemd 252"),
        (["a/libsystemd-shared-257.so", "b/libsystemd-shared-257.so"], "systemd 257"),
        (["a/libsystemd-shared-259.1-1.fc44.so"], "systemd 259"),
        (["a/libsystemd-shared-252.so", "a/libsystemd-shared-254.so"], ""),
        (["a/libsystemd-shared-258.1-1.fc43.so"], ""),
        (["a/libsystemd-shared-rc.so"], ""),
        (["a/libsystemd-core-252.so"], ""),
    ],
)
def test_installed_reads_the_version_in_the_name_of_the_library(
    tmp_path: Path, names: list[str], said: str
) -> None:
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert host.installed([tmp_path / "a", tmp_path / "b"]) == said
    if said:
        assert host.version(said)[0] == int(said.removeprefix("systemd "))
