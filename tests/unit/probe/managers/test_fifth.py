"""A fifth package manager is a folder and a line: here a small apk, without a guest of its own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from postroj.model import Manager
from postroj.probe.bench import Bench
from postroj.probe.managers import MANAGERS, causes, installers, manager_of
from postroj.probe.managers.base import (
    PackageFiles,
    PackageManager,
    Query,
    Solution,
    facts,
    table,
    words,
)
from postroj.probe.package import formats
from postroj.probe.package.package_file import PackageFile, fitting
from postroj.probe.steps import Journey
from postroj.verdict import Outcome, StepName
from tests.support.fake_guest import FakeGuest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from postroj.probe.managers.base import Blame, PackageFacts
    from postroj.probe.package.formats import Format

APK = cast("Manager", "apk")
FORMAT = cast("Format", "apk")


class Apk(PackageManager):
    """What such a folder has to contain."""

    format = FORMAT
    cache = ("/var/cache/apk",)
    logs = ()
    bookkeeping = r"/lib/apk"
    list_all = "apk info --contents --quiet"
    print_scripts = "cat /lib/apk/db/scripts.tar"

    def refresh(self) -> list[str]:
        return ["apk", "update"]

    def install(self, paths: Sequence[str]) -> list[str]:
        return ["apk", "add", *paths]

    def fetch(self, paths: Sequence[str]) -> list[str]:
        return ["apk", "fetch", *paths]

    def solve(self, paths: Sequence[str]) -> Query[Solution]:
        return Query(argv=("solve", *paths), read=lambda text: Solution(installs=table(text)))

    def complete(self, wanted: Sequence[PackageFacts]) -> list[str]:
        return ["apk", "add", *(fact.name for fact in wanted)]

    def everything(self) -> Query[tuple[PackageFacts, ...]]:
        return Query(argv=("list",), read=table)

    def remove(self, names: Sequence[str]) -> list[str]:
        return ["apk", "del", *names]

    def download(self, name: str, folder: str) -> list[str]:
        return ["apk", "fetch", "--output", folder, name]

    def describe(self, path: str) -> Query[PackageFacts]:
        return Query(argv=("describe", path), read=facts)

    def installed(self, names: Sequence[str]) -> Query[tuple[PackageFacts, ...]]:
        return Query(argv=("list", *names), read=table)

    def files(self, name: str) -> Query[PackageFiles]:
        return Query(
            argv=("files", name), read=lambda text: PackageFiles(files=(), configuration=())
        )

    def owner(self, path: str) -> Query[str]:
        return Query(argv=("owner", path), read=str)

    def architectures(self) -> Query[tuple[str, ...]]:
        return Query(argv=("architectures",), read=words)

    def blame(self, status: int, output: str, names: Sequence[str]) -> Blame | None:
        return causes.because(output, "apk failed") if status else None

    def blame_timeout(self, output: str, names: Sequence[str], seconds: float) -> Blame:
        return causes.blame_slowness("apk", output, seconds)


@pytest.fixture(autouse=True)
def _line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Add what contributing.rst asks for: the line, and the suffix of the format."""
    monkeypatch.setitem(MANAGERS, APK, Apk())
    monkeypatch.setitem(formats.SUFFIX, FORMAT, ".apk")


class Guest(FakeGuest):
    """A guest with apk, which installs one package; `add` fails with a status, if any."""

    def __init__(self, status: int = 0) -> None:
        super().__init__(self._answered)
        self._status = status
        self._installed = False

    def _answered(self, argv: tuple[str, ...]) -> tuple[int, str]:
        row = "fifth\t1.0-r0\tx86_64\n"
        match argv:
            case ("architectures",):
                return 0, "x86_64 noarch"
            case ("describe", "/run/postroj/packages/fifth.apk"):
                return 0, row
            case ("list",):
                return 0, row if self._installed else ""
            case ("list", "fifth"):
                return (0, row) if self._installed else (1, "")
            case ("apk", "add", "/run/postroj/packages/fifth.apk"):
                self._installed = self._status == 0
                return self._status, "ERROR: unable to select packages"
            case ("apk", "del", "fifth"):
                self._installed = False
            case ("apk", "update") | ("solve", _):
                pass
            case _:
                return 127, f"unexpected: {argv}"
        return 0, ""


def journey(guest: Guest) -> Journey:
    package = PackageFile(path=Path("fifth.apk"), format=FORMAT)
    bench = Bench(guest=guest, manager=manager_of(APK), timeout=1, begin_part=lambda part: None)
    return Journey(bench, [package])


def test_manager_of_returns_the_fifth_manager() -> None:
    assert isinstance(manager_of(APK), Apk)


def test_only_the_fifth_manager_installs_its_format() -> None:
    package = PackageFile(path=Path("fifth.apk"), format=FORMAT)
    assert installers(FORMAT) == (APK,)
    assert fitting([package], [], APK).unfit == ""
    assert (
        fitting([package], [], Manager.APT).unfit == "'fifth.apk' is for apk, the guest has 'apt'"
    )


def test_journey_of_the_fifth_manager_with_the_defaults_of_the_base_class() -> None:
    guest = Guest()
    taken = journey(guest)
    steps = (StepName.INSTALL, StepName.REINSTALL, StepName.REMOVE, StepName.PURGE)
    done = [taken.take(step) for step in steps]
    assert [step.outcome for step in done] == [Outcome.PASS] * 4
    assert done[0].sentence == "fifth 1.0-r0 (x86_64)"
    assert done[3].remark == "a removed package needs no purge here"
    assert not taken.has_upgrade
    assert [argv[1] for argv in guest.ran if argv[0] == "apk"] == ["update", "add", "add", "del"]


def test_journey_of_the_fifth_manager_blames_as_it_says() -> None:
    done = journey(Guest(status=1)).take(StepName.INSTALL)
    assert done.blame
    assert (done.outcome, done.blame.sentence) == (Outcome.ERROR, "apk failed")
    assert done.blame.evidence == "ERROR: unable to select packages"
