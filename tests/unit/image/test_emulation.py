from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from postroj.errors import HostError
from postroj.image import emulation, obtain
from tests.support.images import put

if TYPE_CHECKING:
    from pathlib import Path

ENABLED = """\
enabled
interpreter /usr/libexec/qemu-binfmt/aarch64-binfmt-P
flags: POCF
offset 0
magic 7f454c460201010000000000000000000200b700
mask ffffffffffffff00fffffffffffffffffeffffff
"""
HOST = os.uname().machine
FOREIGN = "s390x" if HOST != "s390x" else "aarch64"


@pytest.fixture(autouse=True)
def binfmt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory as the kernel shows it, with nothing registered."""
    monkeypatch.setattr(emulation, "BINFMT", tmp_path)
    return tmp_path


def test_host_runs_its_own_architecture() -> None:
    emulation.require(HOST)


def test_processor_that_runs_two_architectures_needs_no_emulation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine = os.uname_result(("Linux", "host", "6.1", "#1", "x86_64"))
    monkeypatch.setattr(os, "uname", lambda: machine)
    emulation.require("i686")
    with pytest.raises(HostError, match=r"this host \(x86_64\) cannot run programs for armv7l"):
        emulation.require("armv7l")


def test_require_accepts_a_registered_architecture(binfmt: Path) -> None:
    (binfmt / f"qemu-{FOREIGN}").write_text(ENABLED)
    emulation.require(FOREIGN)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "does not exist"),
        (ENABLED.replace("enabled", "disabled"), "says 'disabled'"),
        (ENABLED.replace("POCF", "POC"), "lacks the flag F"),
        ("", "says ''"),
    ],
    ids=["not registered", "disabled", "without flag F", "empty"],
)
def test_require_explains_a_missing_registration(
    binfmt: Path, content: str | None, said: str
) -> None:
    if content is not None:
        (binfmt / f"qemu-{FOREIGN}").write_text(content)
    with pytest.raises(HostError, match=f"cannot run programs for {FOREIGN}$") as caught:
        emulation.require(FOREIGN)
    assert said in caught.value.evidence
    assert "qemu-user-static" in caught.value.hint
    assert "systemctl restart systemd-binfmt" in caught.value.hint


def test_require_knows_the_names_of_qemu(binfmt: Path) -> None:
    with pytest.raises(HostError) as caught:
        emulation.require("armv7l")
    assert str(binfmt / "qemu-arm") in caught.value.evidence


def test_obtain_refuses_an_architecture_that_cannot_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSTROJ_CACHE_DIR", str(tmp_path / "cache"))
    record = put("debian-trixie", b"x", FOREIGN)
    assert record.as_image().emulated
    assert not put("debian-trixie", b"x", HOST).as_image().emulated
    for have in (obtain.find_or_pull, obtain.find_cached):
        assert have("debian-trixie").architecture == HOST
        with pytest.raises(HostError, match=f"cannot run programs for {FOREIGN}$"):
            have("debian-trixie", FOREIGN)
    (tmp_path / f"qemu-{FOREIGN}").write_text(ENABLED)
    assert obtain.find_or_pull("debian-trixie", FOREIGN) == record
    assert obtain.find_cached("debian-trixie", FOREIGN) == record
