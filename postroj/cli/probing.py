"""Probe packages as the options of a command say, and report the verdicts."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

import click

from postroj import console
from postroj.cli import check_options, goss, project
from postroj.cli.reports import go_to_stdout, outlets
from postroj.errors import ExitStatus, UsageError
from postroj.model import Kernel, NetworkMode
from postroj.verdict import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from postroj.cli.project import Origin
    from postroj.probe.plan import Plan
    from postroj.report.screen import Screen
    from postroj.tasks import Findings

STATUS = {
    Outcome.PASS: ExitStatus.PASSED,
    Outcome.FAIL: ExitStatus.FAILED,
    Outcome.SKIP: ExitStatus.NOTHING_TESTED,
    Outcome.ERROR: ExitStatus.ERROR,
}


class Prober(Protocol):
    """Probes the packages of a command on images."""

    def __call__(self, images: Sequence[str], plan: Plan, stage: Screen, **how: Any) -> Findings:
        """Return the verdicts; `how` are `jobs` and `fail_fast`."""


def settle(ctx: click.Context, given: dict[str, Any], *, tables: bool = False) -> Origin:
    """Fill `given` with values of the project file; `tables` says whether `[[package]]` counts.

    :raises UsageError: if the file is invalid, or no package is given.
    """
    named = {name: given.pop(name) for name in ("project_file", "no_project")}
    origin = project.settled(ctx, given, tables=tables, **named)
    given["after"] = ctx.meta.get(check_options.BOUND, {})
    return origin


def probe(ctx: click.Context, given: dict[str, Any], origin: Origin, prober: Prober) -> int:
    """Probe as the options say, print and write the reports, and return the exit status."""
    from postroj.cli.reproduce import reproduction
    from postroj.container.start import become_root
    from postroj.image import selection

    asked = list(dict.fromkeys([*given["reports"], *["json=-"] * given["as_json"]]))
    stream = sys.stderr if go_to_stdout(asked) else sys.stdout
    with origin.of("report"):
        places = outlets(asked, stream, given["artifacts"])
    all_given = given | {"project_file": origin.file, "no_project": ctx.params["no_project"]}
    plan = replace(_plan(given, origin), reproduction=reproduction(ctx, all_given))
    jobs = given["jobs"]
    if given["shell_on_failure"]:
        from postroj.cli.visitor import visitor

        plan = replace(plan, visit=visitor(stream, jobs))
        jobs = 1
    images = given["image_names"]
    with origin.of("image"):
        selection.check(images, plan.architecture)
    become_root()
    places.prepare()
    shown = screen(stream, plan)
    with places.guarded():
        findings = prober(images, plan, shown, jobs=jobs, fail_fast=given["fail_fast"])
        report = findings.report
        shown.end_report(report, findings.seconds)
    places.write(report)
    if findings.interruption:
        raise findings.interruption
    return STATUS[report.outcome]


def _plan(given: dict[str, Any], origin: Origin) -> Plan:
    from postroj.cli.configuration import environment_of, puts_of
    from postroj.cli.guest_options import guest_limits, guest_proxies, require_possible
    from postroj.probe.ask.checks import Manners
    from postroj.probe.ask.ports import HttpCriteria
    from postroj.probe.course import REPOSITORY, course, demanded
    from postroj.probe.plan import Plan

    with origin.of("put"):
        puts = puts_of(given["puts"])
    with origin.of("env"):
        environment = environment_of(given["variables"])
    upgrades = bool(given["upgrade_from"])
    with origin.of("steps", "upgrade-from", "start"):
        if given["start"] is False and given["start_units"]:
            message = "`--no-start` and `--start-unit` cannot be combined"
            raise UsageError(message)
        starts = True if given["start_units"] else given["start"]
        steps = course(given["steps"], upgrades=upgrades, starts=starts)
    with origin.of("check-goss", "goss", "goss-vars"):
        program = goss.read(given)
    questions = (*check_options.questions(given, origin, steps), *goss.questions(program))
    expects = given["expect_status"] is not None or given["expect_body"] is not None
    if expects and not any(question.subject.startswith("http") for question in questions):
        message = "`--expect-status` and `--expect-body` need `--check-network http(s)://...`"
        with origin.of("expect-status", "expect-body"):
            raise UsageError(message)
    if given["refresh"] and given["offline"]:
        message = "`--refresh` downloads, `--offline` forbids it"
        raise UsageError(message, hint="omit one of them")
    with origin.of("proxy"):
        # without a network in the probe, earlier downloads still need the proxy
        offline = given["network"] == NetworkMode.NONE
        mode = NetworkMode.PRIVATE if offline else NetworkMode(given["network"])
        ways = guest_proxies(given["proxy"], mode)
    named = ("memory", "cpus", "pids", "network", "private_users")
    with origin.of("memory", "network", "private-users"):
        limits = guest_limits(**{name: given[name] for name in named})
    kernel = Kernel(given["vm"])
    require_possible(
        own_kernel=kernel is not Kernel.SHARED,
        network=given["network"],
        private_users=given["private_users"],
    )
    older: tuple[str, ...] = given["upgrade_from"]
    from_repository = older == (REPOSITORY,)
    return Plan(
        questions=questions,
        manners=Manners(
            timeout=given["check_timeout"],
            settle=given["settle"],
            expected=HttpCriteria(status=given["expect_status"], body=given["expect_body"]),
        ),
        network=NetworkMode(given["network"]),
        timeout=given["timeout"],
        boot_timeout=given["boot_timeout"],
        proxies=ways,
        discover=given["discover"],
        steps=steps,
        recommends=given["recommends"],
        demanded=demanded(given["steps"], upgrades=upgrades),
        must_start=bool(starts),
        start_units=given["start_units"],
        may_leave=given["may_leave"],
        upgrade_from=() if from_repository else older,
        from_repository=from_repository,
        keep=given["keep"],
        goss=program,
        puts=puts,
        environment=environment,
        setup=given["setup"],
        refresh=given["refresh"],
        offline=given["offline"],
        limits=limits,
        private_users=given["private_users"],
        kernel=kernel,
        expected=origin.expectations,
        architecture=given["architecture"] or "",
    )


def screen(stream: Any, plan: Plan) -> Screen:
    """Return the screen on which the probes of a plan are shown."""
    from postroj.probe.ask.checks import NEW_FAILURES
    from postroj.report.screen import Screen

    return Screen(
        lambda line: click.echo(line, file=stream, color=True),
        colour=console.colour_wanted(stream),
        busy=console.busy,
        live=console.is_live(stream),
        quiet=console.is_quiet(),
        width=max(len(text) for text in (NEW_FAILURES, *(q.subject for q in plan.questions))),
    )
