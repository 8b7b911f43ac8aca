"""`postroj ps`, `exec` and `stop`: what is shown, asked and refused; guests are fakes."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from postroj.cli import cli
from postroj.cli.commands import doctor
from postroj.cli.commands.exec_ import exec_
from postroj.cli.commands.ps import SHOWN, ps
from postroj.cli.commands.stop import stop
from postroj.cli.completion import complete_guest, complete_place
from postroj.container import roster, rundir, start
from postroj.container.cgroup import hierarchies
from postroj.container.enter.nsenter import LOGIN_SHELL
from postroj.container.guest import Command
from postroj.container.roster import Listing
from postroj.errors import ExitStatus, GuestError, UsageError
from tests.support.cli import postroj

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

ONE = Listing(
    name="postroj-00000001",
    given="",
    image="debian-trixie",
    purpose="pkgprobe web_1.0_all.deb",
    kept=True,
    began=1_800_000_000.0,
    leader=41,
    memory=44_200_000,
)
TWO = Listing(
    name="postroj-00000002",
    given="web",
    image="",
    purpose="",
    kept=False,
    began=0,
    leader=0,
    memory=0,
)


class House:
    """Replace the roster of guests; record commands and stopped guests."""

    def __init__(self) -> None:
        self.guests = [ONE, TWO]
        self.stopped: list[tuple[str, float]] = []
        self.commands: list[tuple[str, Command]] = []
        self.entered_name = ""
        self.result = 0

    def stop(self, name: str, patience: float) -> None:
        self.stopped.append((name, patience))

    def by_given(self, folder: Path) -> dict[str, str]:
        return {guest.given: guest.name for guest in self.guests if guest.given}

    def listing(self) -> list[Listing]:
        return self.guests

    def names(self) -> list[str]:
        return [guest.name for guest in self.guests]

    def enter(self, name: str) -> House:
        roster.require([name])
        self.entered_name = name
        return self

    def attach(self, command: Command) -> int:
        self.commands.append((self.entered_name, command))
        return self.result


@pytest.fixture
def house(monkeypatch: pytest.MonkeyPatch) -> House:
    house = House()
    monkeypatch.setattr(start, "become_root", lambda: None)
    monkeypatch.setattr(roster, "stop", house.stop)
    monkeypatch.setattr(rundir, "by_given", house.by_given)
    for name in ("listing", "names", "enter"):
        monkeypatch.setattr(roster, name, getattr(house, name))
    monkeypatch.setattr(time, "time", lambda: ONE.began + 7200)
    return house


def run(command: Any, *argv: str) -> tuple[Any, str]:
    done = CliRunner().invoke(command, argv, standalone_mode=False)
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.return_value, done.output


def test_ps_lists_guests(house: House) -> None:
    _, output = run(ps)
    assert output.splitlines() == [
        "NAME              IMAGE          AGE  MEMORY  KEPT  PURPOSE",
        "postroj-00000001  debian-trixie  2 h  44 MB   yes   pkgprobe web_1.0_all.deb",
        "web               -              -    0 MB    no",
    ]


def test_ps_as_json(house: House) -> None:
    _, output = run(ps, "--json")
    one, two = json.loads(output)
    assert one == {
        "name": "postroj-00000001",
        "given": "",
        "image": "debian-trixie",
        "purpose": "pkgprobe web_1.0_all.deb",
        "kept": True,
        "began": "2027-01-15T08:00:00+00:00",
        "leader": 41,
        "memory": 44200000,
        "age": 7200.0,
    }
    assert (two["began"], two["age"], two["leader"]) == (None, None, None)


@pytest.mark.parametrize("command", ["ps", "list-images", "doctor"])
def test_commands_that_start_no_guest_remove_what_a_killed_one_left(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setattr(hierarchies, "mounted", lambda: {hierarchies.V2: tmp_path / "groups"})
    monkeypatch.setattr(doctor, "survey", tuple)
    monkeypatch.setenv("POSTROJ_STATE_DIR", str(tmp_path / "state"))
    left = [tmp_path / folder / "postroj-0000dead" for folder in ("state", "groups")]
    for folder in left:
        folder.mkdir(parents=True)
    assert CliRunner().invoke(cli, [command]).exit_code == 0
    assert not any(folder.exists() for folder in left)


def test_ps_works_where_leftovers_cannot_be_removed(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "state" / ".lock").mkdir(parents=True)
    monkeypatch.setenv("POSTROJ_STATE_DIR", str(tmp_path / "state"))
    assert ONE.name in run(ps)[1]


def test_ps_without_guests(house: House) -> None:
    house.guests = []
    assert run(ps)[1] == ""
    assert run(ps, "--json")[1] == "[]\n"


@pytest.mark.parametrize(
    ("seconds", "age"),
    [(-3, "0 s"), (0, "0 s"), (59.9, "59 s"), (60, "1 min"), (3599, "59 min"), (90000, "1 d")],
)
def test_ps_shows_ages_in_their_largest_unit(
    house: House, monkeypatch: pytest.MonkeyPatch, seconds: float, age: str
) -> None:
    monkeypatch.setattr(time, "time", lambda: ONE.began + seconds)
    assert f"  {age}  " in run(ps)[1].splitlines()[1]


def test_ps_cuts_and_escapes_purposes(house: House) -> None:
    house.guests = [Listing(**{**ONE.__dict__, "purpose": "run \x1b[2J\n" + "x" * 100})]
    shown = run(ps)[1].splitlines()[1].partition("yes   ")[2]
    assert shown.startswith("run \\nxxx")
    assert shown.endswith("x…")
    assert len(shown) == SHOWN


@pytest.mark.parametrize(
    ("argv", "command"),
    [
        ([], LOGIN_SHELL),
        (["--"], LOGIN_SHELL),
        (["ls", "-l", "--help"], ("ls", "-l", "--help")),
        (["--", "ls", "--", "-x"], ("ls", "--", "-x")),
        (["--", "--odd"], ("--odd",)),
    ],
)
def test_exec_passes_on_options_of_the_command(
    house: House, argv: list[str], command: Sequence[str]
) -> None:
    house.result = 9
    assert run(exec_, ONE.name, *argv)[0] == 9
    assert house.commands == [(ONE.name, Command(argv=tuple(command)))]


def test_exec_with_options(house: House) -> None:
    run(exec_, "-e", "A=b", "--chdir", "/srv", ONE.name, "true")
    assert house.commands[0][1] == Command(argv=("true",), env={"A": "b"}, chdir="/srv")


def test_exec_refuses_unknown_guests_and_relative_folders(house: House) -> None:
    with pytest.raises(UsageError, match="no guest is named 'x'") as caught:
        run(exec_, "x", "true")
    assert caught.value.exit_status == ExitStatus.RUN_FAILED
    with pytest.raises(UsageError, match="absolute path") as caught:
        run(exec_, "--chdir", "srv", ONE.name, "true")
    assert caught.value.exit_status == ExitStatus.RUN_FAILED


def test_stop_by_name(house: House) -> None:
    run(stop, "web", ONE.name)
    assert house.stopped == [(TWO.name, 0), (ONE.name, 10)]  # that of a command is killed at once


def test_stop_with_a_time_limit(house: House) -> None:
    run(stop, "--time", "0", ONE.name)
    run(stop, "--time", "2.5", ONE.name)
    assert house.stopped == [(ONE.name, 0), (ONE.name, 2.5)]


def test_stop_of_a_guest_with_two_names_stops_it_once(house: House) -> None:
    run(stop, TWO.name, "web")
    assert house.stopped == [(TWO.name, 0)]


def test_stop_all_stops_kept_guests(house: House) -> None:
    run(stop, "--all")
    assert house.stopped == [(ONE.name, 10)]


def test_stop_with_an_unknown_name_stops_none(house: House) -> None:
    with pytest.raises(UsageError, match="no guest is named 'x'"):
        run(stop, ONE.name, "x")
    assert house.stopped == []


def test_stop_goes_on_after_a_failure(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str, patience: float) -> None:
        house.stop(name, patience)
        if name == ONE.name:
            message = "not gone"
            raise GuestError(message)

    monkeypatch.setattr(roster, "stop", fail)
    with pytest.raises(GuestError, match="not gone"):
        run(stop, ONE.name, TWO.name)
    assert [name for name, _ in house.stopped] == [ONE.name, TWO.name]


@pytest.mark.parametrize("argv", [[], ["--all", "postroj-00000001"]])
def test_stop_wants_names_or_all(argv: list[str]) -> None:
    done = postroj("stop", *argv)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: either names of guests or `--all` must be given")


def test_completion_of_guest_names(house: House) -> None:
    found = complete_guest(None, None, "postroj-")  # type: ignore[arg-type]
    assert [item.value for item in found] == [ONE.name, TWO.name]
    found = complete_guest(None, None, "w")  # type: ignore[arg-type]
    assert [item.value for item in found] == ["web"]
    assert complete_guest(None, None, "x") == []  # type: ignore[arg-type]


def test_completion_of_guest_paths(house: House) -> None:
    found = complete_place(None, None, "we")  # type: ignore[arg-type]
    assert [item.value for item in found] == ["web:"]
    found = complete_place(None, None, "./w")  # type: ignore[arg-type]
    assert [(item.value, item.type) for item in found] == [("./w", "file")]
