"""The `--check-…` options, and `--after`, which binds those that follow it to a step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from postroj.cli import host_paths, options
from postroj.cli.completion import complete_step
from postroj.cli.help import Sectioned
from postroj.verdict import CheckKind, StepName

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from postroj.cli.options import F
    from postroj.cli.project import Origin
    from postroj.probe.ask.question import Question

KINDS = {
    CheckKind.UNIT: (
        "UNIT[,WORD]",
        "Require a unit to be up and to stay up; with `,running` the installation must start it, "
        "with `,enabled` enable it, with `,idle` do neither.",
    ),
    CheckKind.NETWORK: (
        "URL",
        "Require an answer of tcp://host:port, udp://host:port or http(s)://host[:port]/path.",
    ),
    CheckKind.FILE: ("PATH", "Require a file or directory to exist."),
    CheckKind.COMMAND: ("COMMAND", "Require a shell command to exit with status 0."),
}
"""Kinds of checks that a user can ask for, each with its metavar and its help."""
BOUND = "postroj.bound"
"""Key of `Context.meta`: for each kind of check the steps of its values, in their order."""
AFTER = click.option(
    "--after",
    multiple=True,
    metavar="STEP",
    shell_complete=complete_step,
    help="Ask the --check-… options behind it from this step on. Repeatable. [default: start, or "
    "upgrade with --upgrade-from]",
)


class Ordered(Sectioned):
    """A command that records which `--after` each `--check-…` follows."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the words of a command line."""
        args = options.with_vm_value(args)
        if not ctx.resilient_parsing:
            ctx.meta[BOUND] = self._bound(ctx, args)
        return super().parse_args(ctx, args)

    def _bound(self, ctx: click.Context, args: Sequence[str]) -> dict[str, list[str]]:
        values, _, order = self.make_parser(ctx).parse_args(list(args))
        steps = iter(values.get("after") or ())
        step = ""
        bound: dict[str, list[str]] = {f"{kind}s": [] for kind in KINDS}
        for param in order:
            if param.name == "after":
                step = next(steps)
            elif param.name in bound:
                bound[param.name].append(step)
        return bound


def checks(function: F) -> F:
    """Add the `--check-…` options and `--after`."""
    for kind, (metavar, text) in reversed(KINDS.items()):
        function = click.option(
            f"--check-{kind}",
            f"{kind}s",
            multiple=True,
            type=host_paths.IN_GUEST if kind is CheckKind.FILE else None,
            metavar=metavar,
            help=text,
        )(function)
    return AFTER(function)


def bound(
    given: Mapping[str, Any], after: Mapping[str, Sequence[str]]
) -> Iterator[tuple[CheckKind, str, str]]:
    """Yield the kinds and subjects of checks, each with its step or ''.

    `after` has the steps of the values of each kind that were on the command line.
    """
    for kind in KINDS:
        subjects = given[f"{kind}s"]
        steps = after.get(f"{kind}s", [])
        if len(steps) != len(subjects):  # they are those of the project file
            steps = [""] * len(subjects)
        yield from zip([kind] * len(subjects), subjects, steps, strict=True)


def questions(
    given: dict[str, Any], origin: Origin, steps: Sequence[StepName]
) -> Iterator[Question]:
    """Convert the options and the tables `check` of the project file to questions.

    :raises UsageError: if a URL is invalid, a path is not absolute, or a step is not taken.
    """
    from postroj.cli import check_subjects, check_tables
    from postroj.probe.ask.question import Question

    for kind, subject, step in bound(given, given["after"]):
        with origin.of(f"check-{kind}"):
            yield from check_subjects.questions(kind, subject, step, steps)
    for table in origin.checks:
        with origin.of_check(table):
            yield from check_tables.questions(table, steps)
    for subject in given["start_units"]:
        if subject not in given["units"]:
            yield Question(kind=CheckKind.UNIT, subject=subject, since=StepName.START)
