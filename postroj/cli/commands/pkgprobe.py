"""`postroj pkgprobe`: probe packages in fresh guests."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from postroj import console
from postroj.cli import check_options, probe_options, project
from postroj.cli.reports import outlets
from postroj.errors import ExitStatus, UsageError
from postroj.model import NetworkMode
from postroj.verdict import Outcome

if TYPE_CHECKING:
    from postroj.cli.project import Origin
    from postroj.probe.plan import Plan
    from postroj.probe.reproduce import Reproduction
    from postroj.report.terminal import Screen

STATUS = {
    Outcome.PASS: ExitStatus.PASSED,
    Outcome.FAIL: ExitStatus.FAILED,
    Outcome.SKIP: ExitStatus.NOTHING_TESTED,
    Outcome.ERROR: ExitStatus.ERROR,
}

EXAMPLES = (
    ("pkgprobe -p new.deb", "find services, check them"),
    ("pkgprobe -p new.deb -i 'debian-*'", "on every supported Debian"),
    ("pkgprobe -p new.deb --steps all", "its whole life"),
    ("pkgprobe -p new.deb --upgrade-from old.deb", "an upgrade"),
    ("pkgprobe -p new.deb --report junit=new.xml", "a report for CI"),
    ("pkgprobe -p new.deb --shell-on-failure", "a look at what failed"),
)


@click.command(cls=check_options.Ordered, sections=probe_options.SECTIONS, examples=EXAMPLES)
@click.option(
    "-p",
    "--package",
    "packages",
    multiple=True,
    metavar="FILE_OR_URL",
    help="Package file or URL. Repeatable; all are installed together. "
    "[default: those of the project file]",
)
@click.option(
    "--sha256",
    "digests",
    multiple=True,
    metavar="HEX",
    help="Expected SHA-256 of a package; one for each --package, in the same order.",
)
@probe_options.options
@click.pass_context
def pkgprobe(
    ctx: click.Context, /, *, project_file: str | None, no_project: bool, **given: Any
) -> int:
    """Install packages in fresh guests, and check that they work.

    Exit status: 0 all passed, 1 the package is to blame, 2 usage error, 3 nothing was tested,
    4 host, image or guest failed, 130 interrupted.
    """
    from postroj.cli.reproduce import reproduction

    origin = project.settled(ctx, given, project_file=project_file, no_project=no_project)
    given["after"] = ctx.meta.get(check_options.BOUND, {})
    all_given = given | {"project_file": origin.file, "no_project": no_project}
    return _pkgprobe(origin, reproduction=reproduction(ctx, all_given), **given)


def _pkgprobe(
    origin: Origin,
    *,
    reproduction: Reproduction,
    packages: tuple[str, ...],
    digests: tuple[str, ...],
    image_names: tuple[str, ...],
    jobs: int | None,
    fail_fast: bool,
    reports: tuple[str, ...],
    artifacts: str | None,
    shell_on_failure: bool,
    as_json: bool,
    **given: Any,
) -> int:
    from postroj import matrix
    from postroj.container.start import become_root
    from postroj.image import selection
    from postroj.report import json

    stream = sys.stderr if as_json else sys.stdout
    with origin.of("report"):
        places = outlets(reports, stream, artifacts)
    plan = replace(_plan(given, origin), reproduction=reproduction)
    if shell_on_failure:
        from postroj.cli.visitor import visitor

        plan = replace(plan, visit=visitor(stream, jobs))
        jobs = 1
    with origin.of("image"):
        selection.check(image_names, plan.architecture)
    become_root()
    places.prepare()
    screen = _screen(stream, plan)
    with places.guarded():
        findings = matrix.probe_all(
            image_names, packages, digests, plan, screen, jobs=jobs, fail_fast=fail_fast
        )
        report = findings.report
        screen.end_report(report, findings.seconds)
    if as_json:
        click.echo(json.render(report))
    places.write(report)
    if findings.interruption:
        raise findings.interruption
    return STATUS[report.outcome]


def _plan(given: dict[str, Any], origin: Origin) -> Plan:
    from postroj.cli.configuration import environment_of, puts_of
    from postroj.cli.guest_options import guest_limits, guest_proxies
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
    questions = tuple(check_options.questions(given, origin, steps))
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
        puts=puts,
        environment=environment,
        setup=given["setup"],
        refresh=given["refresh"],
        offline=given["offline"],
        limits=limits,
        private_users=given["private_users"],
        expected=origin.expectations,
        architecture=given["architecture"] or "",
    )


def _screen(stream: Any, plan: Plan) -> Screen:
    from postroj.probe.ask.checks import NEW_FAILURES
    from postroj.report.terminal import Screen

    return Screen(
        lambda line: click.echo(line, file=stream, color=True),
        colour=console.colour_wanted(stream),
        busy=console.busy,
        live=stream.isatty(),
        width=max(len(text) for text in (NEW_FAILURES, *(q.subject for q in plan.questions))),
    )
