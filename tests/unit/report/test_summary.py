"""What the last line says: never more than was seen."""

from __future__ import annotations

from dataclasses import replace

import pytest

from postroj.probe.ask.exited import WITHOUT_PROCESS
from postroj.report import summary
from postroj.verdict import (
    CheckKind,
    CheckResult,
    Discovery,
    Outcome,
    ProbeResult,
    Report,
    StepName,
    StepResult,
    Why,
)

UNITS = ("web.service", "web-worker.service", "web@.service", "web.timer")


def check(
    subject: str, outcome: Outcome = Outcome.PASS, kind: CheckKind = CheckKind.UNIT, **more: object
) -> CheckResult:
    fields = {"reason": "", "seconds": 0.0, **more}
    return CheckResult(kind=kind, subject=subject, outcome=outcome, **fields)  # type: ignore[arg-type]


def step(
    *checks: CheckResult,
    name: StepName = StepName.INSTALL,
    units: tuple[str, ...] | None = UNITS,
    **more: object,
) -> StepResult:
    fields = {"done": Outcome.PASS, "reason": "", **more}
    found = None if units is None else Discovery(units=units)
    return StepResult(name=name, seconds=0, checks=checks, discovered=found, **fields)  # type: ignore[arg-type]


NEEDED = step(
    check("web.service", Outcome.SKIP),
    check("db.service", is_dependency=True),
    check("unix:/run/db", kind=CheckKind.NETWORK, is_dependency=True),
)


def with_dependency(*checks: CheckResult) -> StepResult:
    found = Discovery(units=("db.service", "idle.service", "web.service"),
                      dependencies=("db.service", "idle.service"))  # fmt: skip
    return replace(NEEDED, checks=(*NEEDED.checks, *checks), discovered=found)


def described(*steps: StepResult) -> str:
    return summary.describe(Report(probes=(ProbeResult(image="i", package="p", steps=steps),)))


START = step(name=StepName.START, units=None)
PORT = check("tcp://127.0.0.1:80", kind=CheckKind.NETWORK)
CHOSEN = replace(PORT, subject="tcp://127.0.0.1:40000")
TEMPLATE = check("web@.service", Outcome.SKIP)


@pytest.mark.parametrize(
    ("steps", "text"),
    [
        ((step(check("web.service"), PORT, TEMPLATE), START),
         "1 service up, 1 port answers; 1 check skipped"),
        ((step(check("web"), check("web.service"), check("web.timer"), TEMPLATE),
          step(check("web.service"), TEMPLATE, name=StepName.REBOOT)),
         "1 service up, 1 timer up; 1 check skipped"),
        ((step(check("web.timer")), START), "1 timer up"),
        ((step(check("web.service", reason="active (exited)"),
               check("web-worker.service", reason="active (running), main PID 7")),),
         "1 service up, 1 service did its work and ended"),
        ((step(check("web.service", reason="inactive (dead), has done its work, its main process"
                     " ended with status 0")),), "1 service did its work and ended"),
        ((step(check("web.service", reason="active (running)")),
          step(check("web.service", reason="active (exited)"), name=StepName.REBOOT)),
         "1 service up"),
        ((step(check("web.service", reason="active (exited), its command does nothing")), START),
         "installation only: none of its 2 services was started"),
        ((step(check("web.service", reason=f"active (exited), {WITHOUT_PROCESS}")),),
         "1 SysV script ran and left no process"),
        ((step(TEMPLATE),),
         "installation only: none of its 2 services was started (--start); 1 check skipped"),
        ((step(TEMPLATE, units=("web.service",)), START),
         "installation only: its service was not started; 1 check skipped"),
        ((step(units=("web@.service",)), START), "the package has no service"),
        ((step(check("/x", kind=CheckKind.FILE), check("true", kind=CheckKind.COMMAND), units=()),),
         "1 file exists, 1 command succeeds; the package has no service"),
        ((step(*(check("x", kind=kind) for kind in CheckKind), check("y", kind=CheckKind.USER),
               units=()),),
         "1 service up, 1 port answers, 1 file exists, 1 program runs, 2 users exist,"
         " 1 group exists, 1 package is installed, 1 line is logged, 1 port is closed,"
         " 1 name resolves, 1 command succeeds, 1 test of goss passes"),
        ((with_dependency(), START),
         "installation only: its service was not started; 1 check skipped"),
        # named by the user
        ((with_dependency(check("db.service"), PORT), START),
         "1 service up, 1 port answers; 1 check skipped"),
        ((step(units=None),), "installation only: nothing was checked"),
        ((step(check("web.service")),
          step(check("web.service"), name=StepName.REMOVE, units=None)), "1 service up"),
        # gone after a removal is not up
        ((step(units=("web.service",)),
          step(check("web.service"), name=StepName.REMOVE, units=None)),
         "installation only: its service was not started (--start)"),
        ((step(check("web.service", Outcome.SKIP)),
          step(check("web.service", Outcome.SKIP, why=Why.CONFIGURATION), name=StepName.START,
               units=("web.service",))),
         "installation only: none of its 2 services was started; web.service gave up when postroj"
         " started it, it may want configuration; 1 check skipped"),
        # ports that the kernel chooses anew at each start
        ((step(check("web.service"), PORT, CHOSEN),
          step(check("web.service"), PORT, replace(CHOSEN, subject="tcp://127.0.0.1:40001"))),
         "1 service up, 2 ports answer"),
        ((step(check("unix:/run/x", kind=CheckKind.NETWORK), check("web.service")),),
         "1 service up, 1 unix socket answers"),
    ],
)  # fmt: skip
def test_describe_a_passing_probe(steps: tuple[StepResult, ...], text: str) -> None:
    assert described(*steps) == text


def test_describe_names_a_step_that_was_asked_for_and_not_taken() -> None:
    upgrade = step(
        name=StepName.UPGRADE, units=None, done=Outcome.SKIP, reason="needs an older package\nx",
        omitted=True,
    )  # fmt: skip
    probe = ProbeResult(image="i", package="p", steps=(step(check("web.service")), upgrade))
    good = ProbeResult(image="j", package="p", steps=(step(check("web.service"), PORT),))
    assert (probe.outcome, good.outcome) == (Outcome.SKIP, Outcome.PASS)
    report = Report(probes=(good, probe))
    assert report.outcome is Outcome.SKIP
    assert summary.describe(report) == (
        "a step that was asked for was not taken; i: no upgrade: needs an older package;"
        " 2 services up, 1 port answers on 2 images"
    )


def test_describe_names_images_of_which_nothing_ran() -> None:
    idle = ProbeResult(image="fedora-43", package="p", steps=(step(units=("web.service",)),))
    good = ProbeResult(image="debian-sid", package="p", steps=(step(check("web.service")),))
    skipped = step(units=None, done=Outcome.SKIP)
    unfit = ProbeResult(image="arch", package="p", steps=(skipped,))
    assert summary.describe(Report(probes=(idle, good, unfit))) == (
        "1 service up on 2 images; fedora-43: installation only: its service was not started"
        " (--start); nothing was tested on arch"
    )


def test_describe_counts_probes_that_differ() -> None:
    done = [Outcome.PASS, Outcome.FAIL, Outcome.FAIL, Outcome.SKIP]
    probes = [
        ProbeResult(image=str(place), package="p", steps=(step(units=None, done=outcome),))
        for place, outcome in enumerate(done)
    ]
    assert summary.describe(Report(probes=tuple(probes))) == "2 failed, 1 skipped, 1 passed"
    probes.append(ProbeResult(image="x", package="p", reason="gone"))
    assert summary.describe(Report(probes=tuple(probes))) == (
        "2 failed, 1 not judged, 1 skipped, 1 passed"
    )


def test_describe_names_packages_where_an_image_has_several() -> None:
    nothing = step(units=None, done=Outcome.SKIP)
    steps = {"a.deb": step(check("web.service")), "b.deb": step(), "c.deb": nothing}
    probes = [
        ProbeResult(image="i", package=package, steps=(found,)) for package, found in steps.items()
    ]
    assert summary.describe(Report(probes=tuple(probes))) == (
        "1 service up in 2 probes; b.deb on i: installation only: none of its 2 services was"
        " started (--start); c.deb was not tested on i"
    )


def test_describe_counts_checks_of_a_failing_probe() -> None:
    bad = step(check("web.service", Outcome.FAIL), PORT, TEMPLATE)
    assert described(bad) == "the package is to blame; 1 check failed, 1 passed, 1 skipped"
    assert described(step(TEMPLATE, done=Outcome.SKIP)) == "nothing was tested; 1 check skipped"


def test_describe_counts_a_fault_that_several_steps_meet_once() -> None:
    later = step(
        check("web.service", Outcome.FAIL, reason="failed, main PID 12"),
        check("web.timer", Outcome.FAIL, reason="failed"),
        PORT,
        name=StepName.REBOOT,
    )
    first = step(check("web.service", Outcome.FAIL, reason="failed, main PID 7"), PORT)
    assert described(first, later) == "the package is to blame; 2 checks failed, 2 passed"
    probe = ProbeResult(image="i", package="p", steps=(first, later))
    both = Report(probes=(probe, probe))
    assert summary.describe(both) == "the package is to blame; 4 checks failed, 4 passed"
