"""Plugin of pytest: guests as fixtures, for tests of a package in a booted system.

``pip install postroj[pytest]`` brings what it needs. docs/howto/pytest.rst shows its use.
"""

from __future__ import annotations

import importlib.util
import subprocess
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from postroj.api import Guest, PostrojFailed, probe
from postroj.errors import UsageError
from postroj.verdict import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

TESTINFRA = "postroj.testing.testinfra"
JOURNAL = ("journalctl", "--no-pager", "--lines=30", "--priority=warning")
PATIENCE = 30.0
"""Seconds for the journal of a guest."""


LIVING = pytest.StashKey[list[Guest]]()
"""The guests of a module."""


class Wanted(NamedTuple):
    """What a run of pytest tests."""

    images: tuple[str, ...]
    """Names of images; empty for the default of postroj."""
    packages: tuple[str, ...]
    """Files or URLs."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options to the command line and to the configuration file."""
    group = parser.getgroup("postroj", "guests of postroj")
    group.addoption(
        "--postroj-image",
        action="append",
        default=[],
        metavar="IMAGE[,...]",
        help="images of guests; tests that use a guest run once for each",
    )
    group.addoption(
        "--postroj-package",
        action="append",
        default=[],
        metavar="FILE",
        help="package file that is installed and probed",
    )
    parser.addini("postroj_images", "images of guests", type="args", default=[])


def pytest_configure(config: pytest.Config) -> None:
    """Add the marker, and let guests be hosts of testinfra if that is installed."""
    line = "postroj_image(*patterns): run this test only on images such as `debian-*`"
    config.addinivalue_line("markers", line)
    if importlib.util.find_spec("testinfra"):
        from testinfra.backend import BACKENDS

        BACKENDS["postroj"] = f"{TESTINFRA}.Backend"
        if _named(config) and not config.getoption("hosts", None):
            # after testinfra, so that this `host` is taken
            config.pluginmanager.import_plugin(TESTINFRA)


def wanted(config: pytest.Config) -> Wanted:
    """Return what the command line names, else pytest's configuration, else postroj.toml.

    :raises pytest.UsageError: if that file is invalid.
    """
    images, packages = tuple(_named(config)), tuple(config.getoption("postroj_package"))
    of_project = Wanted((), ()) if images and packages else _of_project(config)
    return Wanted(images or of_project.images, packages or of_project.packages)


def _named(config: pytest.Config) -> list[str]:
    texts = config.getoption("postroj_image") or config.getini("postroj_images")
    return [name for text in texts for name in text.split(",")]


def _of_project(config: pytest.Config) -> Wanted:
    from postroj.project import project_file, reader

    try:
        found = project_file.find(config.rootpath)
        project = reader.read(found, datetime.now(UTC).date()) if found else None
        values = {
            key: tuple(project.option(key)) if project and key in project.values else ()
            for key in ("image", "package")
        }
    except UsageError as error:
        raise pytest.UsageError(error.reason) from None
    return Wanted(values["image"], values["package"])


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test that uses an image once for each image."""
    if "postroj_image" in metafunc.fixturenames:
        images = wanted(metafunc.config).images or ("",)
        names = [name or "default" for name in images]
        metafunc.parametrize("postroj_image", images, ids=names, scope="session", indirect=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests on images that their marker does not name."""
    for item in items:
        marker, callspec = item.get_closest_marker("postroj_image"), getattr(item, "callspec", None)
        image = callspec.params.get("postroj_image") if callspec else None
        if marker and image and not any(fnmatchcase(image, one) for one in marker.args):
            item.add_marker(pytest.mark.skip(reason=f"not for {image}"))


@pytest.fixture(scope="session")
def postroj_image(request: pytest.FixtureRequest) -> str:
    """Return the name of the image, '' for the default of postroj."""
    return str(request.param)


@pytest.fixture(scope="session")
def postroj_packages(pytestconfig: pytest.Config) -> tuple[str, ...]:
    """Return the package files under test."""
    if packages := wanted(pytestconfig).packages:
        return packages
    message = "no package is named: `--postroj-package FILE` names one, or postroj.toml"
    raise pytest.UsageError(message)


@contextmanager
def _booted(request: pytest.FixtureRequest, image: str) -> Iterator[Guest]:
    """Boot a guest, which is among those of the tests of this module meanwhile."""
    with Guest(image) as guest:
        living = request.node.stash.setdefault(LIVING, [])
        living.append(guest)
        yield guest
        living.remove(guest)


@pytest.fixture(scope="module")
def postroj_guest(request: pytest.FixtureRequest, postroj_image: str) -> Iterator[Guest]:
    """A booted guest, which the tests of a module share."""
    with _booted(request, postroj_image) as guest:
        yield guest


@pytest.fixture(scope="module")
def postroj_installed(
    request: pytest.FixtureRequest, postroj_image: str, postroj_packages: tuple[str, ...]
) -> Iterator[Guest]:
    """A guest in which the packages under test are installed, which the tests of a module share."""
    with _booted(request, postroj_image) as guest:
        guest.install(*postroj_packages)
        yield guest


@pytest.fixture
def postroj_probe(
    postroj_image: str, postroj_packages: tuple[str, ...]
) -> Callable[..., dict[str, Any]]:
    """Return a function that probes the packages; the test ends as the verdict says.

    Its arguments are options of ``postroj pkgprobe``; it returns the report.
    """

    def probed(*options: str) -> dict[str, Any]:
        report = probe(*postroj_packages, image=postroj_image, options=options)
        text = "\n".join(told(report))
        match Outcome(report["outcome"]):
            case Outcome.FAIL:
                pytest.fail(text, pytrace=False)
            case Outcome.ERROR:
                raise PostrojFailed(text)
            case Outcome.SKIP:
                pytest.skip(text)
            case Outcome.PASS:
                return report

    return probed


def told(report: dict[str, Any]) -> Iterator[str]:
    """Yield lines about each probe of a report, and about what went wrong in it."""
    for one in report["probes"]:
        yield f"{one['package']} on {one['image']}: {one['outcome']} {one['reason']}".rstrip()
        for step in one["steps"]:
            if step["done"] != Outcome.PASS:
                yield f"  {step['name']}: {step['done']}: {step['reason']}"
            for check in step["checks"]:
                if Outcome(check["outcome"]).is_bad:
                    reason = check["reason"].replace("\n", "\n    ")
                    yield f"  {step['name']}: {check['subject']}: {reason}"
        if one["reproduce"]:
            yield f"  reproduce: {one['reproduce']}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add to the report of a test that failed what the journals of its guests say."""
    report = yield
    module = item.getparent(pytest.Module) if report.failed else None
    for guest in module.stash.get(LIVING, []) if module else ():
        with suppress(subprocess.TimeoutExpired):
            done = guest.run(*JOURNAL, check=False, timeout=PATIENCE)
            title = f"journal of the guest of {guest.image or 'the default image'}"
            report.sections.append((title, done.stdout or done.stderr))
    return report
