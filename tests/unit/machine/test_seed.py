"""The disk with what a machine gets of its host."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from postroj import user
from postroj.container.spec import Bind, GuestSpec
from postroj.machine import seed
from postroj.machine.seed import HERE, MODULES
from postroj.model import NetworkMode

SPEC = GuestSpec(layers=(Path("/image"),))
IMPORTED = """
import sys
sys.path.insert(0, sys.argv[1])
import postroj.machine.server
assert postroj.__file__.startswith(sys.argv[1])
print(*(name for name in sys.modules if name.split(".")[0] == "postroj"))
"""


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "postroj-0a1b2c3d"
    folder.mkdir()
    return folder


def written(run_dir: Path, spec: GuestSpec = SPEC) -> tarfile.TarFile:
    seed.write_seed_disk(spec, run_dir, "guest", "nameserver 192.0.2.1\n")
    return tarfile.open(run_dir / "seed.tar")


def text(tar: tarfile.TarFile, name: str) -> str:
    file = tar.extractfile(name)
    assert file
    return file.read().decode()


def test_modules_are_exactly_those_that_the_server_imports(run_dir: Path, tmp_path: Path) -> None:
    """From the tar itself, without anything that is installed here."""
    with written(run_dir) as tar:
        tar.extractall(tmp_path / "out", filter="data")
    server = tmp_path / "out/server"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-B", "-c", IMPORTED, str(server)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stderr == ""
    files = {
        name.split(".", 1)[1].replace(".", "/") if "." in name else "__init__"
        for name in done.stdout.split()
    }
    imported = {f"{file}/__init__" if (HERE / file).is_dir() else file for file in files}
    assert imported == set(MODULES)


def test_modules_are_named_once() -> None:
    assert len(MODULES) == len(set(MODULES))


@pytest.mark.parametrize(
    ("mode", "network"), [(NetworkMode.PRIVATE, "dhcp"), (NetworkMode.NONE, "")]
)
def test_settings_are_variables_of_a_shell(run_dir: Path, mode: NetworkMode, network: str) -> None:
    spec = GuestSpec(layers=SPEC.layers, network=mode)
    with written(run_dir, spec) as tar:
        settings = text(tar, "settings")
    script = f'{settings}printf "%s|" "$network" "$init"'
    done = subprocess.run(["sh", "-euc", script], capture_output=True, text=True, check=True)
    assert done.stdout == f"{network}|/sbin/init|"
    init = HERE.joinpath("machine/init.sh").read_text()
    assert all(f"\n{name.partition('=')[0]}=" in init for name in settings.splitlines())


@pytest.mark.parametrize(
    ("uid", "options"), [(0, "redirect_dir=on,metacopy=off"), (1000, "userxattr")]
)
def test_overlay_of_a_machine_reads_the_layers_of_who_has_made_them(
    uid: int, options: str, run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(user, "UID", uid)
    with written(run_dir) as tar:
        assert f"overlay={options}\n" in text(tar, "settings").replace("'", "")
    assert "workdir=/files/work,$overlay" in HERE.joinpath("machine/init.sh").read_text()


def test_seed_has_the_identity_of_the_guest(run_dir: Path) -> None:
    with written(run_dir) as tar:
        assert text(tar, "seed/etc/hostname") == "guest\n"
        assert text(tar, "seed/etc/resolv.conf") == "nameserver 192.0.2.1\n"
        assert len(text(tar, "seed/etc/machine-id")) == 33


def test_everything_belongs_to_root(run_dir: Path, tmp_path: Path) -> None:
    """Not to the user who has installed postroj, whose files these are."""
    package = tmp_path / "x.deb"
    package.write_text("x")
    bind = Bind(source=package, target="/run/postroj/packages/x.deb", read_only=True)
    with written(run_dir, GuestSpec(layers=SPEC.layers, binds=(bind,))) as tar:
        members = tar.getmembers()
    assert {(one.uid, one.gid, one.uname in ("", "root")) for one in members} == {(0, 0, True)}


def test_bound_files_lie_below_run_with_the_folders_above_them(
    run_dir: Path, tmp_path: Path
) -> None:
    package = tmp_path / "x.deb"
    package.write_text("content")
    target = "/run/postroj/packages/x.deb"
    bind = Bind(source=package, target=target, read_only=True)
    with written(run_dir, GuestSpec(layers=SPEC.layers, binds=(bind,))) as tar:
        names = [name for name in tar.getnames() if name.split("/")[0] == "run"]
        assert names == ["run", "run/postroj", "run/postroj/packages", target[1:]]
        assert text(tar, target[1:]) == "content"
        folders = [tar.getmember(name) for name in names[:-1]]
    assert all(one.isdir() and one.mode == 0o755 for one in folders)


def test_a_bound_link_becomes_the_file_that_it_leads_to(run_dir: Path, tmp_path: Path) -> None:
    """The link leads to a place of the host, as `--package latest.deb` may."""
    (tmp_path / "x_1.deb").write_text("content")
    (tmp_path / "latest.deb").symlink_to("x_1.deb")
    bind = Bind(source=tmp_path / "latest.deb", target="/run/postroj/latest.deb", read_only=True)
    with written(run_dir, GuestSpec(layers=SPEC.layers, binds=(bind,))) as tar:
        assert tar.getmember("run/postroj/latest.deb").isreg()
        assert text(tar, "run/postroj/latest.deb") == "content"


def test_a_bound_file_that_does_not_exist(run_dir: Path, tmp_path: Path) -> None:
    bind = Bind(source=tmp_path / "x.deb", target="/run/x.deb", read_only=True)
    with pytest.raises(FileNotFoundError):
        written(run_dir, GuestSpec(layers=SPEC.layers, binds=(bind,)))
