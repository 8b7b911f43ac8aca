"""Isolation of tests from the user's settings, and of unit tests from the world."""

from __future__ import annotations

import os
import signal
import socket
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.fence.sitecustomize import FENCE
from tests.support.ids import pytest_make_parametrize_id as pytest_make_parametrize_id

if TYPE_CHECKING:
    from collections.abc import Iterator

TESTS = Path(__file__).parent
FENCED_FOLDERS = ("unit", "cli")
LONGEST_FIRST = (
    "test_machine.py",
    "test_machine_user.py",
    "test_own_packages.py",
    "test_images.py",
    "test_foreign.py",
    "test_hostile.py",
    "test_pkgprobe.py",
    "test_autopkgtest.py",
    "test_steps.py",
    "test_steps_everywhere.py",
    "test_unprivileged.py",
    "test_warm.py",
    "test_hosts.py",
    "test_killed.py",
    "test_managers.py",
    "test_first_minutes.py",
    "test_long_lived.py",
    "test_start.py",
    "test_action.py",
    "test_prepare.py",
    "test_bounds.py",
    "test_leaving.py",
    "test_kept.py",
    "test_faults.py",
    "test_matrix.py",
    "test_pytest.py",
    "test_evidence.py",
    "test_remote.py",
    "test_network.py",
    "test_unprivileged_images.py",
    "test_import.py",
    "test_container.py",
    "test_store.py",
    "test_discover.py",
    "test_run.py",
    "test_init.py",
)
"""Integration tests that take 40 s and more on a host that is busy with three others."""
PASSED: list[str] = []
"""Integration tests that passed, of all workers."""


# A shell without job control has its background processes ignore it, and theirs, signal(7).
signal.signal(signal.SIGINT, signal.default_int_handler)


def folder_of(path: Path) -> str:
    """Return the folder of `tests/` in which a test lies."""
    return path.relative_to(TESTS).parts[0] if path.is_relative_to(TESTS) else ""


@pytest.fixture(scope="session")
def own_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Yield names of folders, one for each test; few tests need theirs, so none is made."""
    parent = tmp_path_factory.mktemp("own")
    return (parent / str(number) for number in count())


@pytest.fixture(autouse=True)
def isolated(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, own_folders: Iterator[Path]
) -> None:
    """Make output the same everywhere; keep tests without guests out of the host's folders."""
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    if folder_of(request.path) in FENCED_FOLDERS:
        own = next(own_folders)
        monkeypatch.setenv("POSTROJ_CACHE_DIR", str(own / "cache"))
        monkeypatch.setenv("POSTROJ_STATE_DIR", str(own / "state"))


@pytest.fixture(autouse=True)
def fenced(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no unit test boot a guest, or leave the loopback interface, nor what it starts."""
    if folder_of(request.path) in FENCED_FOLDERS:
        monkeypatch.setattr(FENCE, "up", True)
        monkeypatch.setenv("PYTHONPATH", str(TESTS / "support/fence"), prepend=os.pathsep)


@pytest.fixture
def no_name_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answer for the name server, which the fence does not let be asked."""

    def getaddrinfo(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


def place_of(item: pytest.Item) -> int:
    """Return when a test comes: long files of integration tests, short ones, all others."""
    if folder_of(item.path) != "integration":
        return len(LONGEST_FIRST) + 1
    name = item.path.name
    return LONGEST_FIRST.index(name) if name in LONGEST_FIRST else len(LONGEST_FIRST)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what boots guests; let workers begin with what takes long, so that none is left over."""
    for item in items:
        if folder_of(item.path) == "integration":
            item.add_marker("integration")
    if hasattr(config, "workerinput"):
        items.sort(key=place_of)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Fail, and do not skip, where no guest can be booted."""
    if item.get_closest_marker("integration") and os.geteuid() != 0:
        pytest.fail("boots real guests, which takes root: `sudo make test`", pytrace=False)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Count, in the process that hears of the tests of all workers."""
    if report.when == "call" and report.passed and "integration" in report.keywords:
        PASSED.append(report.nodeid)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run of CI which was to test guests and tested none."""
    if hasattr(session.config, "workerinput") or not os.environ.get("CI") or PASSED:
        return
    ours = TESTS / "integration"
    asked = [
        (session.config.invocation_params.dir / arg.partition("::")[0]).resolve()
        for arg in session.config.args
    ]
    if any(ours.is_relative_to(path) or path.is_relative_to(ours) for path in asked):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        reporter = session.config.pluginmanager.get_plugin("terminalreporter")
        if reporter:
            reporter.write_line("not a single integration test passed", red=True)
