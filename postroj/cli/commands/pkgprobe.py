"""`postroj pkgprobe`: probe packages in fresh guests."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from postroj import console
from postroj.cli import check_options, options, project
from postroj.cli.completion import complete_image
from postroj.cli.reports import METAVAR, outlets
from postroj.errors import ExitStatus, UsageError
from postroj.model import NetworkMode
from postroj.verdict import Outcome, StepName

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


@click.command(cls=check_options.Ordered)
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
@click.option(
    "-i",
    "--image",
    "image_names",
    multiple=True,
    metavar="NAME",
    shell_complete=complete_image,
    help="Image name or pattern, such as 'debian-*'. Repeatable. "
    "[default: all cached and supported ones, else debian-stable]",
)
@options.architecture
@click.option(
    "-j",
    "--jobs",
    type=click.IntRange(min=1),
    metavar="N",
    help="Number of guests at the same time. [default: by cores and memory]",
)
@click.option(
    "--fail-fast/--keep-going",
    help="Stop at the first image that does not pass, or try them all. [default: --keep-going]",
)
@check_options.checks
@click.option(
    "--discover/--no-discover",
    default=True,
    show_default=True,
    help="Discover the units and sockets of the package, and check them, too.",
)
@click.option(
    "--steps",
    default="",
    metavar="STEP,…",
    help=f"Steps to run, in this order: {', '.join(StepName)}; or all (without downgrade). "
    "[default: install,start; with --upgrade-from also upgrade]",
)
@click.option(
    "--start/--no-start",
    default=None,
    help="Start what the installation has not started, and require it to come up; or leave it "
    "alone. [default: require it where the distribution starts nothing, else try]",
)
@click.option(
    "--start-unit",
    "start_units",
    multiple=True,
    metavar="UNIT",
    help="Unit to start after the installation, instead of those that postroj finds. Repeatable.",
)
@click.option(
    "--upgrade-from",
    multiple=True,
    metavar="FILE_OR_URL|repo",
    help="Older package to install before the upgrade, as a file, URL or `repo` for the one in the "
    "repositories. Without it, postroj builds a newer version of a .deb or pacman package.",
)
@click.option(
    "--put",
    "puts",
    multiple=True,
    metavar="FILE:PATH",
    help="Put a file into the guest before the installation; `@start:FILE:PATH` before `start`. "
    "Repeatable.",
)
@click.option(
    "--env",
    "variables",
    multiple=True,
    metavar="NAME=VALUE",
    help="Environment variable for the package manager and all services. Repeatable.",
)
@click.option(
    "--may-leave",
    multiple=True,
    metavar="PATTERN",
    help="File or folder that the package may leave behind after a purge. Repeatable.",
)
@click.option(
    "--setup",
    multiple=True,
    metavar="COMMAND",
    help="Shell command that changes the image before the probe; the result is cached. Repeatable.",
)
@click.option(
    "--recommends/--no-recommends",
    default=True,
    show_default=True,
    help="Install recommended packages, too; without them, missing dependencies show.",
)
@click.option(
    "--refresh",
    is_flag=True,
    help="Renew cached data: set-up, package lists, dependencies.",
)
@click.option("--offline", is_flag=True, help="Use only cached data; download nothing.")
@click.option(
    "--expect-status",
    type=int,
    metavar="STATUS",
    help="Required status of http(s) answers. [default: below 400]",
)
@click.option("--expect-body", metavar="TEXT", help="Required text in the body of http(s) answers.")
@options.seconds("--settle", 3, "Time that a unit must stay up.", zero=True)
@options.seconds("--check-timeout", 30, "Time limit for a check to pass.", zero=True)
@options.seconds("--timeout", 600, "Time limit for each command of the package manager.")
@options.boot_timeout
@options.network
@options.proxy
@options.limits
@options.private_users
@click.option(
    "--report",
    "reports",
    multiple=True,
    metavar=METAVAR,
    help="Write a report file (json, junit, tap or html), or annotations for GitHub. Repeatable.",
)
@click.option("--keep", is_flag=True, help="Keep the guest of each image running after the probe.")
@click.option(
    "--artifacts",
    metavar="DIR",
    help="Write evidence of failures to files: journals, logs, sockets, core dumps.",
)
@click.option(
    "--shell-on-failure",
    is_flag=True,
    help="Open a shell in the guest after a failed step; probes one image at a time.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the JSON report on stdout.")
@project.options
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
