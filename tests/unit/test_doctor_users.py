"""What doctor finds for a user without root, and which commands it has root run."""

from __future__ import annotations

import os
import shlex
import subprocess
from typing import TYPE_CHECKING, NoReturn

import pytest

from postroj import process, user
from postroj.container import user_namespace
from postroj.container.cgroup import delegation, hierarchies, scope
from postroj.container.cgroup.hierarchies import V2
from postroj.container.user_namespace import NotAllowedError
from postroj.doctor import facts, sysctl, users
from postroj.doctor.facts import Finding, Status
from postroj.errors import HostError

if TYPE_CHECKING:
    from pathlib import Path

UID = 12345
OK = Finding(Status.OK, "")
ADD = ("usermod", "--add-subuids=1-2", "me")
CLONE = "kernel.unprivileged_userns_clone=1"


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host on which nothing is missing; its settings and files are in a folder."""
    monkeypatch.setattr(user, "UID", UID)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))
    (tmp_path / "clone").write_text("1\n")
    switches = {tmp_path / "clone": CLONE, tmp_path / "max": "user.max_user_namespaces=9"}
    monkeypatch.setattr(user_namespace, "SWITCHES", switches)
    monkeypatch.setattr(user_namespace, "mapping", lambda kind: [1, 2, 3])
    monkeypatch.setattr(user_namespace, "require_kernel", lambda: None)
    monkeypatch.setattr(user_namespace, "enter", lambda: None)
    monkeypatch.setattr(process, "tool", lambda name: f"/bin/{name}")
    monkeypatch.setattr(delegation, "settle", lambda: None)
    monkeypatch.setattr(facts, "cgroups", lambda: OK)
    monkeypatch.setattr(facts, "attempt", lambda argv, success: Finding(Status.OK, success))
    monkeypatch.setattr(sysctl, "FILE", tmp_path / "sysctl.d/its own.conf")
    monkeypatch.setattr(scope, "BOOTED", tmp_path)
    monkeypatch.setattr(hierarchies, "mounted", lambda: {V2: tmp_path})
    monkeypatch.setattr(users, "BUS_UNITS", ())
    (tmp_path / "sysctl.d").mkdir()
    (tmp_path / "runtime/systemd").mkdir(parents=True)
    (tmp_path / "runtime/systemd/private").touch()
    (tmp_path / "runtime/bus").touch()
    return tmp_path


def refuse(error: HostError) -> NoReturn:
    raise error


ROWS = (users.subordinate_ids, users.newuidmap, users.session_bus, users.user_namespaces)


def test_user_lacks_nothing_on_a_host_that_has_all(host: Path) -> None:
    assert [row().status for row in (*ROWS, users.control_groups)] == [Status.OK] * 5
    assert users.user_namespaces().found == f"uid {UID} is root of one"


def test_root_needs_none_of_it(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(user, "UID", 0)
    (host / "clone").write_text("0\n")
    assert [row().status for row in ROWS] == [Status.OK] * 4


def test_every_obstacle_is_named_at_once_with_its_own_fix(
    host: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_ids = NotAllowedError("too few numbers", fix=ADD)
    monkeypatch.setattr(user_namespace, "mapping", lambda kind: refuse(no_ids))
    no_groups = HostError("no groups", evidence="at all", hint="log in")
    monkeypatch.setattr(delegation, "settle", lambda: refuse(no_groups))
    monkeypatch.setattr(user_namespace, "enter", lambda: pytest.fail("entered"))
    (host / "clone").write_text("0\n")
    (host / "runtime/systemd/private").unlink()
    start = f"loginctl enable-linger {UID} && systemctl start user@{UID}.service"
    missing = Status.MISSING
    assert users.subordinate_ids() == Finding(missing, "too few numbers", ADD)
    assert users.control_groups() == Finding(missing, "no groups: at all", ("sh", "-c", start))
    found = users.user_namespaces()
    assert (found.status, found.found) == (missing, "kernel.unprivileged_userns_clone: 0")
    assert CLONE in found.fix


def test_kernel_is_not_blamed_for_numbers_that_are_missing(
    host: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_ids = NotAllowedError("too few numbers", fix=ADD)
    monkeypatch.setattr(user_namespace, "mapping", lambda kind: refuse(no_ids))
    monkeypatch.setattr(user_namespace, "enter", lambda: pytest.fail("entered"))
    assert users.user_namespaces() == Finding(Status.OK, "can be made")


def test_kernel_that_cannot_is_told_with_the_hint(
    host: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apparmor = HostError("AppArmor forbids it", hint="see there")
    monkeypatch.setattr(user_namespace, "require_kernel", lambda: refuse(apparmor))
    found = users.user_namespaces()
    assert found == Finding(Status.MISSING, "AppArmor forbids it; see there")


def test_manager_that_runs_is_not_started(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = HostError("too slow", hint="log in again")
    monkeypatch.setattr(delegation, "settle", lambda: refuse(slow))
    assert users.control_groups() == Finding(Status.MISSING, "too slow; log in again")


def test_session_bus_is_a_socket_or_a_unit_of_users(
    host: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (host / "runtime/bus").unlink()
    assert users.session_bus() == Finding(Status.MISSING, "")
    monkeypatch.setattr(users, "BUS_UNITS", (host / "dbus.socket",))
    (host / "dbus.socket").touch()
    assert users.session_bus().status is Status.OK
    monkeypatch.setattr(users, "BUS_UNITS", ())
    monkeypatch.setattr(scope, "BOOTED", host / "nowhere")
    assert users.session_bus().status is Status.OK


def test_settings_are_written_for_each_boot_and_loaded(host: Path) -> None:
    (host / "sysctl").write_text('#!/bin/sh\necho "$@"\n')
    (host / "sysctl").chmod(0o755)
    env = {"PATH": f"{host}:{os.environ['PATH']}"}
    for settings in (["a.b=1"], ["c.d=2", "a.b=1"]):
        command = sysctl.lasting(settings)
        done = subprocess.run(command, env=env, check=True, capture_output=True, text=True)
        assert done.stdout == f"-p {sysctl.FILE}\n"
    assert sysctl.FILE.read_text().splitlines() == [sysctl.FIRST_LINE, "a.b=1", "c.d=2"]


def test_settings_never_replace_a_file_of_another(host: Path) -> None:
    sysctl.FILE.write_text("a.b=0\n")
    assert sysctl.lasting(["a.b=1"]) == ()
    (host / "clone").write_text("0\n")
    found = users.user_namespaces()
    assert found.fix == ()
    assert found.found.endswith(
        f"{shlex.quote(str(sysctl.FILE))}, which would allow it, is not ours"
    )
