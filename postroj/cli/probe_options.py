"""The options of `pkgprobe` apart from its packages, and the sections of its help text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from postroj.cli import check_options, goss, host_paths, project
from postroj.cli import options as common
from postroj.cli.completion import complete_steps
from postroj.cli.reports import METAVAR
from postroj.verdict import StepName

if TYPE_CHECKING:
    from postroj.cli.options import F

SECTIONS = {
    "Packages and images": ("packages", "digests", "image_names", "architecture"),
    "Steps": ("steps", "upgrade_from", "start", "start_units", "may_leave"),
    "Checks": (
        *("discover", "units", "networks", "files", "commands", "after"),
        *("goss_files", "goss", "goss_vars"),
        *("expect_status", "expect_body", "settle", "check_timeout"),
    ),
    "Preparation": ("setup", "puts", "variables", "recommends", "refresh", "offline"),
    "Guests": (
        *("jobs", "fail_fast", "network", "proxy", "memory", "cpus", "pids", "private_users"),
        *("vm", "timeout", "boot_timeout"),
    ),
    "Results": ("reports", "as_json", "artifacts", "keep", "shell_on_failure", "quiet", "verbose"),
    "Project file": ("project_file", "no_project", "project_schema"),
}
"""Parameters by section of the help text."""


def options(function: F) -> F:
    """Add all options that describe how packages are probed."""
    decorators = [
        common.images("[default: the cached ones that fit, else one for the format]"),
        common.architecture,
        click.option(
            "-j",
            "--jobs",
            type=click.IntRange(min=1),
            metavar="N",
            help="Number of guests at the same time. [default: by cores and memory]",
        ),
        click.option(
            "--fail-fast/--keep-going",
            help="Stop at the first image that does not pass, or try them all. "
            "[default: --keep-going]",
        ),
        check_options.checks,
        goss.options,
        click.option(
            "--discover/--no-discover",
            default=True,
            show_default=True,
            help="Discover the units and sockets of the package, and check them, too.",
        ),
        click.option(
            "--steps",
            default="",
            metavar="STEP,…",
            shell_complete=complete_steps,
            help=f"Steps to run, in this order: {', '.join(StepName)}; or all (without downgrade). "
            "[default: install,start; with --upgrade-from also upgrade]",
        ),
        click.option(
            "--start/--no-start",
            default=None,
            help="Start what the installation has not started, and require it to come up; or leave "
            "it alone. [default: require it where the distribution starts nothing, else try]",
        ),
        click.option(
            "--start-unit",
            "start_units",
            multiple=True,
            metavar="UNIT",
            help="Unit to start after the installation, instead of those that postroj finds. "
            "Repeatable.",
        ),
        click.option(
            "--upgrade-from",
            multiple=True,
            type=host_paths.OLDER,
            metavar="FILE_OR_URL|repo",
            help="Older package to install before the upgrade, as a file, URL or `repo` for the "
            "one in the repositories. Without it, postroj builds a newer version of a .deb or "
            "pacman package.",
        ),
        click.option(
            "--put",
            "puts",
            multiple=True,
            type=host_paths.PUT,
            metavar="FILE:PATH",
            help="Put a file into the guest before the installation; `@start:FILE:PATH` before "
            "`start`. Repeatable.",
        ),
        click.option(
            "--env",
            "variables",
            multiple=True,
            metavar="NAME=VALUE",
            help="Environment variable for the package manager and all services. Repeatable.",
        ),
        click.option(
            "--may-leave",
            multiple=True,
            type=host_paths.IN_GUEST,
            metavar="PATTERN",
            help="File or folder that the package may leave behind after a purge. Repeatable.",
        ),
        click.option(
            "--setup",
            multiple=True,
            metavar="COMMAND",
            help="Shell command that changes the image before the probe; the result is cached. "
            "Repeatable.",
        ),
        click.option(
            "--recommends/--no-recommends",
            default=True,
            show_default=True,
            help="Install recommended packages, too; without them, missing dependencies show.",
        ),
        click.option(
            "--refresh",
            is_flag=True,
            help="Renew cached data: set-up, package lists, dependencies.",
        ),
        click.option("--offline", is_flag=True, help="Use only cached data; download nothing."),
        click.option(
            "--expect-status",
            type=int,
            metavar="STATUS",
            help="Required status of http(s) answers. [default: below 400]",
        ),
        click.option(
            "--expect-body", metavar="TEXT", help="Required text in the body of http(s) answers."
        ),
        common.seconds("--settle", 3, "Time that a unit must stay up.", zero=True),
        common.seconds("--check-timeout", 30, "Time limit for a check to pass.", zero=True),
        common.seconds("--timeout", 600, "Time limit for each command of the package manager."),
        common.boot_timeout,
        common.network,
        common.proxy,
        common.limits,
        common.private_users,
        common.vm,
        click.option(
            "--report",
            "reports",
            multiple=True,
            type=host_paths.REPORT,
            metavar=METAVAR,
            help="Write a report (json, junit, tap or html; the suffix tells) to a file, to stdout "
            "with KIND=-, or as annotations for GitHub. Repeatable.",
        ),
        click.option(
            "--keep", is_flag=True, help="Keep the guest of each image running after the probe."
        ),
        click.option(
            "--artifacts",
            type=host_paths.ARTIFACTS,
            metavar="DIR",
            help="Write evidence of failures to files: journals, logs, sockets, core dumps.",
        ),
        click.option(
            "--shell-on-failure",
            is_flag=True,
            help="Open a shell in the guest after a failed step; probes one image at a time.",
        ),
        click.option("--json", "as_json", is_flag=True, help="Print the JSON report on stdout."),
        common.verbosity,
        project.options,
    ]
    for decorate in reversed(decorators):
        function = decorate(function)
    return function
