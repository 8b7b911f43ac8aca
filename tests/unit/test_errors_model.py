"""The vocabulary: errors with their exit status, and how outcomes add up."""

from __future__ import annotations

import itertools
import signal
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from postroj import errors, model, verdict
from postroj.errors import ExitStatus
from postroj.verdict import CheckKind, CheckResult, Outcome, ProbeResult, StepName, StepResult


def check(outcome: Outcome) -> CheckResult:
    return CheckResult(
        kind=CheckKind.UNIT, subject="x.service", outcome=outcome, reason="", seconds=0.1
    )


def step(done: Outcome, *checks: Outcome) -> StepResult:
    results = tuple(check(outcome) for outcome in checks)
    return StepResult(name=StepName.INSTALL, done=done, reason="", seconds=1.0, checks=results)


def probe(*steps: StepResult, reason: str = "") -> ProbeResult:
    return ProbeResult(image="debian-trixie", package="x.deb", steps=steps, reason=reason)


class TestErrors:
    @pytest.mark.parametrize(
        ("kind", "status"),
        [
            (errors.PostrojError, 4),
            (errors.UsageError, 2),
            (errors.HostError, 4),
            (errors.DownloadError, 4),
            (errors.ImageError, 4),
            (errors.GuestError, 4),
            (errors.PackageError, 1),
        ],
    )
    def test_exit_status_of_each_error(self, kind: type[errors.PostrojError], status: int) -> None:
        error = kind("what went wrong", evidence="last words", hint="type this")
        assert isinstance(error, errors.PostrojError)
        assert error.exit_status == status
        assert str(error) == error.message == "what went wrong"
        assert (error.evidence, error.hint) == ("last words", "type this")

    def test_host_error_hints_at_doctor_by_default(self) -> None:
        assert "`postroj doctor`" in errors.HostError("x").hint
        assert errors.HostError("x", hint="other").hint == "other"

    def test_command_error_has_argv_status_and_output(self) -> None:
        error = errors.CommandError(["tool", "--option"], 3, "last words")
        assert error.message == "'tool' ended with status 3"
        assert (error.argv, error.status, error.evidence) == (
            ("tool", "--option"),
            3,
            "last words",
        )
        assert errors.CommandError(["tool"], 3, "", message="other").message == "other"

    def test_command_timeout_has_status_of_sigkill(self) -> None:
        error = errors.CommandTimeout(["tool"], 1.5, "last words")
        assert isinstance(error, errors.CommandError)
        assert error.message == "'tool' did not end within 1.5 s"
        assert (error.status, error.seconds) == (137, 1.5)

    def test_interrupted_is_not_an_exception(self) -> None:
        assert errors.Interrupted().exit_status == 130
        assert errors.Interrupted(signal.SIGTERM).exit_status == 143
        assert not isinstance(errors.Interrupted(), Exception)

    def test_exit_status_values_match_the_documentation(self) -> None:
        table = {status.name: status.value for status in ExitStatus}
        assert table == {
            "PASSED": 0,
            "FAILED": 1,
            "USAGE": 2,
            "NOTHING_TESTED": 3,
            "ERROR": 4,
            "RUN_FAILED": 125,
            "TESTBED_FAILED": 254,
        }


class TestWorst:
    def test_worst_outcome_comes_first(self) -> None:
        order = [Outcome.ERROR, Outcome.FAIL, Outcome.PASS, Outcome.SKIP]
        for (worse, first), (better, second) in itertools.product(enumerate(order), repeat=2):
            assert verdict.worst([first, second]) == order[min(worse, better)]

    def test_worst_orders_every_outcome(self) -> None:
        assert set(verdict.WORST_FIRST) == set(Outcome)

    def test_worst_of_nothing_is_skip(self) -> None:
        assert verdict.worst([]) is Outcome.SKIP
        assert verdict.worst(iter(())) is Outcome.SKIP


class TestResults:
    def test_outcome_of_a_step(self) -> None:
        assert step(Outcome.PASS).outcome is Outcome.PASS
        assert step(Outcome.PASS, Outcome.PASS, Outcome.SKIP).outcome is Outcome.PASS
        assert step(Outcome.PASS, Outcome.PASS, Outcome.FAIL).outcome is Outcome.FAIL
        assert step(Outcome.ERROR, Outcome.FAIL).outcome is Outcome.ERROR

    def test_outcome_of_a_probe(self) -> None:
        assert probe().outcome is Outcome.SKIP
        assert probe(step(Outcome.PASS), step(Outcome.FAIL)).outcome is Outcome.FAIL
        assert probe(reason="the guest did not start").outcome is Outcome.ERROR
        assert probe(step(Outcome.PASS), reason="no image").outcome is Outcome.ERROR

    def test_outcome_of_a_report(self) -> None:
        good, bad = probe(step(Outcome.PASS)), probe(step(Outcome.FAIL))
        assert verdict.Report(probes=()).outcome is Outcome.SKIP
        assert verdict.Report(probes=(good, bad)).outcome is Outcome.FAIL

    def test_results_are_frozen(self) -> None:
        image = model.Image(
            name="debian-trixie",
            architecture="x86_64",
            layers=(Path("image.squashfs"),),
            manager=model.Manager.APT,
        )
        with pytest.raises(FrozenInstanceError):
            image.name = "other"  # type: ignore[misc]
