"""`probe`: the outcome for everything that a guest may do; the guest is a fake."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from postroj.container.boot.nspawn import bind_option
from postroj.container.spec import Accelerator, Machine
from postroj.errors import CommandTimeout, GuestError, GuestLost, HostError
from postroj.model import Image, Manager, NetworkMode
from postroj.probe import probe, steps
from postroj.probe.ask.checks import Manners, Question
from postroj.probe.bench import Bench
from postroj.probe.excuse import emulated
from postroj.probe.excuse.expectations import Expectation
from postroj.probe.managers.apt.apt import FILES, Apt
from postroj.probe.package.formats import Format
from postroj.probe.package.package_file import PackageFile
from postroj.probe.plan import Plan
from postroj.verdict import CheckKind, EvidenceName, Outcome, ProbeResult, StepName, StepResult
from tests.support.fake_guest import Answer, FakeGuest
from tests.support.listener import Ear

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from postroj.container.spec import GuestSpec

IMAGE = Image(
    name="debian-trixie",
    architecture="x86_64",
    layers=(Path("/i.squashfs"),),
    manager=Manager.APT,
    dependencies=(),
)
MACHINE = Machine(
    architecture="aarch64",
    accelerator=Accelerator.TCG,
    kernel=Path("/kernel.squashfs"),
    tools=(),
)
PACKAGE = PackageFile(path=Path("/home/a b/x_1.0_all.deb"), format=Format.DEB)
OLDER = PackageFile(path=Path("/old/x_0.9_all.deb"), format=Format.DEB)
SECOND = PackageFile(path=Path("/y_1.0_all.deb"), format=Format.DEB)
PLAN = Plan(
    questions=(Question(kind=CheckKind.COMMAND, subject="true"),),
    manners=Manners(timeout=1, settle=0),
    network=NetworkMode.NONE,
    timeout=60,
    boot_timeout=30,
)
FIELDS = "Package: x\nVersion: 1.0\nArchitecture: all"


def fine(argv: tuple[str, ...]) -> Answer:
    match argv:
        case ("dpkg-deb", *_):
            return 0, FIELDS
        case ("dpkg-query", *_):
            return 0, "installed\tx\t1.0\tall"
        case ("sh", "-c", script, *_) if "architecture" in script:
            return 0, "amd64\nall"
        case _:
            return 0, ""


def but(word: str, answer: Answer) -> Callable[[tuple[str, ...]], Answer]:
    """Answer as `fine` does, but for commands with a word."""
    return lambda argv: answer if word in argv else fine(argv)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[ProbeResult, Ear]]:
    def run(answer: Callable[[tuple[str, ...]], Answer], **options: Any) -> Any:
        @contextmanager
        def boot(spec: GuestSpec) -> Iterator[Any]:
            specs.append(spec)
            yield guest

        specs: list[GuestSpec] = []
        guest = FakeGuest(answer, **options)
        monkeypatch.setattr(probe, "start_guest", boot)
        ear = Ear()
        result = probe.probe(IMAGE, [PACKAGE, SECOND], PLAN, ear)
        assert specs[0].network is NetworkMode.NONE
        assert specs[0].boot_timeout == 30
        assert [bind_option(bind) for bind in specs[0].binds] == [
            f"--bind-ro={file.path}:{file.guest_path}" for file in (PACKAGE, SECOND)
        ]
        return result, ear

    return run


def test_an_expected_failure_is_announced_and_reported_as_a_skip(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    @contextmanager
    def boot(spec: GuestSpec) -> Iterator[Any]:
        message = "no"
        raise GuestError(message)
        yield

    known = Expectation(
        images=frozenset({IMAGE.name}),
        outcome=Outcome.FAIL,
        reason="bug 7",
        until=date(2027, 1, 31),
        expired=False,
    )
    plan = replace(
        PLAN, expected=(known, replace(known, images=frozenset({"debian-sid"}), expired=True))
    )

    @contextmanager
    def fake(spec: GuestSpec) -> Iterator[Any]:
        yield FakeGuest(lambda argv: (1, "") if argv[-1] == "true" else fine(argv))

    monkeypatch.setattr(probe, "start_guest", fake)
    ear = Ear()
    result = probe.probe(IMAGE, [PACKAGE], plan, ear)
    (check,) = [c for c in result.steps[0].checks if c.kind is CheckKind.COMMAND]
    assert check.outcome is Outcome.SKIP
    assert check.reason.startswith("expected to fail: bug 7 (until 2027-01-31)\nstatus 1")
    assert check in ear.told
    assert (result.outcome, result.notes) == (Outcome.PASS, ())
    monkeypatch.setattr(probe, "start_guest", boot)
    assert probe.probe(IMAGE, [PACKAGE], plan, Ear()).outcome is Outcome.ERROR


def test_a_probe_that_passes_announces_all_that_it_reports(
    run: Callable[..., tuple[ProbeResult, Ear]],
) -> None:
    result, ear = run(fine)
    assert result.outcome is Outcome.PASS
    assert result.package == "x_1.0_all.deb y_1.0_all.deb"
    assert set(result.timings) == {*("boot", "refresh", "install", "discovery", "checks", "total")}
    begun, step, *checks, end = ear.told
    assert begun == ("debian-trixie", result.package)
    assert step.reason == "x 1.0 (all), x 1.0 (all)"
    assert tuple(checks) == result.steps[0].checks
    assert end is result


def test_after_a_failed_installation_the_checks_are_skipped(
    run: Callable[..., tuple[ProbeResult, Ear]],
) -> None:
    result, ear = run(but("install", (100, "E: odd")))
    (step,) = result.steps
    assert (result.outcome, step.reason) == (Outcome.ERROR, "apt-get failed\nE: odd")
    assert [check.outcome for check in step.checks] == [Outcome.SKIP]
    assert len(ear.told) == 4


def test_package_lists_that_are_not_available_are_an_error(
    run: Callable[..., tuple[ProbeResult, Ear]],
) -> None:
    said = "E: Failed to fetch x  Temporary failure resolving 'mirror.example'"
    result, _ = run(but("update", (100, said)))
    assert result.outcome is Outcome.ERROR
    assert result.steps[0].hint
    assert "install" not in result.timings


def test_an_installation_that_hangs_fails(run: Callable[..., tuple[ProbeResult, Ear]]) -> None:
    result, _ = run(but("install", CommandTimeout(("apt-get",), 60, "Setting up x (1.0) ...")))
    assert result.outcome is Outcome.FAIL
    assert result.steps[0].reason.startswith("apt-get hung for 60 s while setting up x")


@pytest.mark.parametrize("word", ["install", "update", "systemctl", "stat"])
def test_a_guest_that_ends_meanwhile(
    run: Callable[..., tuple[ProbeResult, Ear]], word: str
) -> None:
    error = GuestError("the guest ended meanwhile", evidence="panic", hint="try again")
    result, ear = run(but(word, error))
    if word in ("install", "update"):
        assert result.outcome is Outcome.ERROR
        assert (result.reason, result.hint) == ("the guest ended meanwhile\npanic", "try again")
        assert result.steps == ()
        assert set(result.timings) == {"boot", "evidence", "total"}
    assert ear.told[-1] is result


def test_a_guest_that_is_lost_once_the_package_is_in_is_its_failure(
    run: Callable[..., tuple[ProbeResult, Ear]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def require(self: FakeGuest) -> None:
        message = "the guest shut down"
        raise GuestLost(message, evidence="panic")

    monkeypatch.setattr(FakeGuest, "require", require)
    result, ear = run(fine)
    (step,) = result.steps
    assert (result.outcome, step.done) == (Outcome.FAIL, Outcome.PASS)
    assert [c.outcome for c in step.checks].count(Outcome.FAIL) == 1
    assert ear.told[-1] is result


def test_a_guest_that_is_lost_in_a_skipped_step_is_announced_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    @contextmanager
    def boot(spec: GuestSpec) -> Iterator[Any]:
        yield FakeGuest(fine)

    def require(self: FakeGuest) -> None:
        calls.append(self)
        if len(calls) == 2:
            message = "the guest shut down"
            raise GuestLost(message, evidence="panic")

    calls: list[FakeGuest] = []
    monkeypatch.setattr(probe, "start_guest", boot)
    monkeypatch.setattr(FakeGuest, "require", require)
    ear = Ear()
    plan = replace(PLAN, steps=(StepName.INSTALL, StepName.DOWNGRADE))
    result = probe.probe(IMAGE, [PACKAGE], plan, ear)
    assert [step.done for step in result.steps] == [Outcome.PASS, Outcome.FAIL]
    assert result.steps[1].reason == "the package has broken the guest: the guest shut down\npanic"
    heard = [word.name for word in ear.told if isinstance(word, StepResult)]
    assert heard == [StepName.INSTALL, StepName.DOWNGRADE]


@pytest.mark.parametrize("answer", [fine, but("install", GuestError("odd"))])
def test_a_guest_that_was_kept_is_named_whatever_the_verdict(
    run: Callable[..., tuple[ProbeResult, Ear]], answer: Callable[[tuple[str, ...]], Answer]
) -> None:
    assert run(answer)[0].guest == ""
    assert run(answer, kept=True)[0].guest == "postroj-0a1b2c3d"


@pytest.mark.parametrize("error", [GuestError("not ready", hint="h"), HostError("no nspawn")])
def test_a_guest_that_does_not_begin(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def boot(spec: GuestSpec) -> Any:
        raise error

    monkeypatch.setattr(probe, "start_guest", boot)
    ear = Ear()
    result = probe.probe(IMAGE, [PACKAGE], PLAN, ear)
    assert (result.outcome, result.steps) == (Outcome.ERROR, ())
    assert set(result.timings) == {"total"}
    assert ear.told == [("debian-trixie", "x_1.0_all.deb"), result]


@pytest.mark.parametrize(("machine", "is_noted"), [(None, True), (MACHINE, False)])
def test_probe_doubts_qemu_user_only_in_containers(
    machine: Machine | None, *, is_noted: bool
) -> None:
    """The programs of a machine run on a kernel of their own architecture."""
    image = replace(IMAGE, architecture="aarch64", emulated=True)
    result = probe.probe(image, [PACKAGE], PLAN, Ear(), unfit="so", machine=machine)
    assert (emulated.NOTE in result.notes) is is_noted


def test_unfit_packages_are_skipped_without_a_guest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "start_guest", None)  # none is booted
    ear = Ear()
    foreign = PackageFile(path=Path("/y.rpm"), format=Format.RPM)
    result = probe.probe(IMAGE, [foreign], PLAN, ear, unfit="'y.rpm' is for dnf or zypper")
    (step,) = result.steps
    assert (result.outcome, step.outcome) == (Outcome.SKIP, Outcome.SKIP)
    assert step.reason == "'y.rpm' is for dnf or zypper"
    assert [check.outcome for check in step.checks] == [Outcome.SKIP]
    assert ear.told == [
        ("debian-trixie", "y.rpm"),
        step,
        *step.checks,
        result,
    ]


def test_a_unit_that_failed_at_boot_is_a_note_and_no_failure(
    run: Callable[..., tuple[ProbeResult, Ear]],
) -> None:
    result, _ = run(fine, failed=["old.service"], failed_at_boot=("old.service",))
    assert result.outcome is Outcome.PASS
    assert result.notes == ("units had failed as the guest booted: old.service",)


class TestInspectingPackages:
    def install(self, answer: Callable[[tuple[str, ...]], Answer]) -> tuple[steps.Done, FakeGuest]:
        guest = FakeGuest(answer)
        bench = Bench(guest=guest, manager=Apt(), timeout=60, begin_part=lambda part: None)
        return steps.Journey(bench, [PACKAGE, SECOND]).take(StepName.INSTALL), guest

    def test_a_file_that_dpkg_cannot_read(self) -> None:
        done, guest = self.install(lambda argv: (2, "odd") if argv[0] == "dpkg-deb" else fine(argv))
        assert done.blame and done.outcome is Outcome.FAIL
        assert done.blame.reason == "'x_1.0_all.deb' is not a complete package\nodd"
        assert not [words for words in guest.ran if words[0] == "apt-get"]

    @pytest.mark.parametrize("name", ["armhf", "s390x", ""])
    def test_a_foreign_architecture(self, name: str) -> None:
        text = FIELDS.replace("all", name)
        done, guest = self.install(lambda argv: (0, text) if argv[0] == "dpkg-deb" else fine(argv))
        assert done.blame
        assert done.blame.sentence == f"'x_1.0_all.deb' is for {name}, the guest is amd64"
        assert not [words for words in guest.ran if words[0] == "apt-get"]

    def test_a_second_architecture_of_the_guest(self) -> None:
        def answer(argv: tuple[str, ...]) -> Answer:
            if argv[0] == "dpkg-deb":
                return 0, FIELDS.replace("all", "i386")
            return (0, "amd64\ni386\nall") if argv[0] == "sh" else fine(argv)

        assert self.install(answer)[0].outcome is Outcome.PASS

    def test_all_go_in_together(self) -> None:
        _, guest = self.install(fine)
        (install,) = (argv for argv in guest.ran if "install" in argv and "--simulate" not in argv)
        assert install[-3:] == ("install", PACKAGE.guest_path, SECOND.guest_path)

    @pytest.mark.parametrize(
        ("row", "sentence"),
        [
            ("", "'x' 1.0 was not installed: the guest does not have it"),
            ("installed\tx\t2.0\tall", "'x' 1.0 was not installed: the guest has 2.0"),
        ],
    )
    def test_a_success_that_installed_nothing_is_an_error(self, row: str, sentence: str) -> None:
        """dnf and zypper end well, too, where they have done nothing."""
        done, _ = self.install(lambda argv: (0, row) if argv[0] == "dpkg-query" else fine(argv))
        assert done.blame and done.outcome is Outcome.ERROR
        assert done.blame.sentence == sentence


class TestDiscovery:
    def test_a_discovery_that_is_not_possible_is_an_error(
        self, run: Callable[..., tuple[ProbeResult, Ear]]
    ) -> None:
        result, _ = run(but(FILES, GuestError("odd", evidence="last words")))
        (step,) = result.steps
        assert step.checks[0].subject == "discovery"
        assert (step.checks[0].outcome, step.checks[0].reason) == (Outcome.ERROR, "odd\nlast words")
        assert step.discovered is None
        assert result.outcome is Outcome.ERROR

    def test_what_is_discovered_is_asked_and_reported(
        self, run: Callable[..., tuple[ProbeResult, Ear]]
    ) -> None:
        unit = (
            "Id=x.service\nNames=x.service\nLoadState=loaded\nActiveState=active\nSubState=running"
        )

        def answer(argv: tuple[str, ...]) -> Answer:
            match argv:
                case ("sh", "-c", script, *_) if script == FILES:
                    return 0, "/lib/systemd/system/x.service\n/usr/bin/x"
                case ("systemctl", "show", *_):
                    return 0, unit
                case _:
                    return fine(argv)

        result, ear = run(answer)
        (step,) = result.steps
        assert step.reason.endswith("\nbrings 1 unit, 1 program")
        assert (step.checks[0].subject, step.checks[0].discovered) == ("x.service", True)
        assert step.discovered and step.discovered.programs == ("/usr/bin/x",)
        assert ear.told[1].reason == step.reason


@pytest.mark.parametrize("fails", [False, True])
def test_what_dpkg_alone_cannot_do_is_left_to_apt(fails: bool) -> None:
    def answer(argv: tuple[str, ...]) -> Answer:
        return (1, "dpkg: error") if fails and "--install" in argv else fine(argv)

    guest = FakeGuest(answer)
    bench = Bench(guest=guest, manager=Apt(), timeout=60, begin_part=lambda part: None)
    journey = steps.Journey(bench, [PACKAGE])
    journey.take(StepName.INSTALL)
    del guest.ran[:]
    assert journey.take_again().outcome is Outcome.PASS
    tools = [words[0] for words in guest.ran if words[0] in ("apt-get", "dpkg")]
    assert tools == (["dpkg", "apt-get"] if fails else ["dpkg"])


def test_no_step_is_taken_after_one_that_went_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    guest = FakeGuest(but("install", (100, "E: odd")))

    @contextmanager
    def boot(spec: GuestSpec) -> Iterator[Any]:
        yield guest

    monkeypatch.setattr(probe, "start_guest", boot)
    plan = replace(PLAN, steps=(StepName.INSTALL, StepName.REINSTALL, StepName.REMOVE))
    result = probe.probe(IMAGE, [PACKAGE], plan, Ear())
    assert [step.done for step in result.steps] == [Outcome.ERROR, Outcome.SKIP, Outcome.SKIP]
    reason = "the step 'install' before it did not succeed"
    assert [step.reason for step in result.steps[1:]] == [reason, reason]
    assert not [argv for argv in guest.ran if {"remove", "--reinstall"} & {*argv}]


def test_the_evidence_of_a_step_that_went_wrong_is_in_its_result(
    run: Callable[..., tuple[ProbeResult, Ear]],
) -> None:
    (step,) = run(but("install", (100, "E: odd")))[0].steps
    assert "E: odd" in {one.name: one.text for one in step.evidence}[EvidenceName.OUTPUT]
    assert run(fine)[0].steps[0].evidence == ()


def test_the_evidence_of_an_error_that_ends_the_probe_is_in_its_result(
    run: Callable[..., tuple[ProbeResult, Ear]],
) -> None:
    result, _ = run(but("install", GuestError("odd")))
    assert EvidenceName.JOURNAL in {one.name for one in result.evidence}
    assert run(fine)[0].evidence == ()


def test_a_failed_check_of_the_older_version_is_not_held_against_the_package(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first step installs the older version, whose unit does not come up."""

    def answer(argv: tuple[str, ...]) -> Answer:
        if argv[0] == "dpkg-deb":
            return 0, FIELDS.replace("1.0", "0.9") if OLDER.guest_path in argv else FIELDS
        version = (
            "1.0"
            if any(
                PACKAGE.guest_path in words
                for words in guest.ran[::-1]
                if words[0] == "apt-get" and "install" in words
            )
            else "0.9"
        )
        if argv[0] == "dpkg-query":
            return 0, f"installed\tx\t{version}\tall"
        return (1, "") if argv[-1] == "true" and argv[0] == "sh" else fine(argv)

    guest = FakeGuest(answer)

    @contextmanager
    def boot(spec: GuestSpec) -> Iterator[Any]:
        yield guest

    monkeypatch.setattr(probe, "start_guest", boot)
    asked = replace(PLAN.questions[0], since=StepName.INSTALL)
    plan = replace(
        PLAN, questions=(asked,), steps=(StepName.INSTALL, StepName.UPGRADE), older=(OLDER,)
    )
    install, upgrade = probe.probe(IMAGE, [PACKAGE], plan, Ear()).steps
    told = {check.subject: check for check in install.checks}["true"]
    assert told.outcome is Outcome.SKIP
    assert told.reason.startswith("the older version, which is not under test: status 1")
    judged = {check.subject: check for check in upgrade.checks}["true"]
    assert judged.outcome is Outcome.FAIL
