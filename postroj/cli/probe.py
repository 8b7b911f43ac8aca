"""`postroj pkgprobe`: package files in, a verdict and an exit status out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from postroj import console
from postroj.cli import options
from postroj.cli.completion import complete_image
from postroj.errors import ExitStatus, UsageError
from postroj.model import CheckKind, NetworkMode, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from postroj.cli.options import F
    from postroj.probe.checks import Question
    from postroj.probe.probe import Plan
    from postroj.report.terminal import Terminal

STATUS = {
    Outcome.PASS: ExitStatus.PASSED,
    Outcome.FAIL: ExitStatus.FAILED,
    Outcome.SKIP: ExitStatus.NOTHING_TESTED,
    Outcome.ERROR: ExitStatus.ERROR,
}


def _check(kind: CheckKind, metavar: str, text: str) -> Callable[[F], F]:
    return click.option(f"--check-{kind}", f"{kind}s", multiple=True, metavar=metavar, help=text)


@click.command()
@click.option(
    "-p",
    "--package",
    "packages",
    multiple=True,
    required=True,
    metavar="FILE_OR_URL",
    help="A package file or its URL; several are installed in one go.",
)
@click.option(
    "--sha256",
    "digests",
    multiple=True,
    metavar="HEX",
    help="SHA-256 of a package; one for each --package, in the same order.",
)
@click.option(
    "-i",
    "--image",
    "image_names",
    multiple=True,
    default=("debian-stable",),
    show_default=True,
    metavar="NAME",
    shell_complete=complete_image,
    help="Where to install it; may be repeated.",
)
@_check(CheckKind.UNIT, "UNIT", "A unit that must be up, and stay up.")
@_check(CheckKind.NETWORK, "URL", "tcp://host:port, udp://host:port or http(s)://host[:port]/path.")
@_check(CheckKind.FILE, "PATH", "A file or directory that must exist.")
@_check(CheckKind.COMMAND, "COMMAND", "A shell command that must end with status 0.")
@click.option(
    "--expect-status",
    type=int,
    metavar="STATUS",
    help="Status of http(s) answers (default: below 400).",
)
@click.option("--expect-body", metavar="TEXT", help="Text in the body of http(s) answers.")
@options.seconds("--settle", 3, "How long a unit must have stayed up.", zero=True)
@options.seconds("--check-timeout", 30, "How long a check may take to come true.", zero=True)
@options.seconds("--timeout", 600, "How long each command of the package manager may take.")
@options.boot_timeout
@options.network
@click.option(
    "--report",
    "reports",
    multiple=True,
    metavar="json=FILE",
    help="Write the report to a file, as JSON.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the JSON report on stdout.")
def pkgprobe(**given: Any) -> int:
    """Install a package in a fresh guest, and say whether it works there.

    Exit status: 0 all passed, 1 the package is to blame, 2 wrong usage, 3 nothing was tested,
    4 host, image or guest failed, 130 interrupted.
    """
    return _pkgprobe(**given)


def _pkgprobe(
    *,
    packages: tuple[str, ...],
    digests: tuple[str, ...],
    image_names: tuple[str, ...],
    reports: tuple[str, ...],
    as_json: bool,
    **given: Any,
) -> int:
    from postroj import matrix
    from postroj.container.guest import require_root
    from postroj.image import catalog
    from postroj.report import json

    files = [_report_file(text) for text in reports]
    plan = _plan(given)
    names = [catalog.find(name).name for name in image_names]
    require_root()
    terminal = _terminal(sys.stderr if as_json else sys.stdout, plan.questions)
    report = matrix.probe_all(names, packages, digests, plan, terminal)
    terminal.end_report(report)
    if as_json:
        click.echo(json.render(report))
    for file in files:
        file.write_text(json.render(report) + "\n")
    return STATUS[report.outcome]


def _plan(given: dict[str, Any]) -> Plan:
    from postroj.probe.checks import Manners
    from postroj.probe.ports import Expectation
    from postroj.probe.probe import Plan

    questions = tuple(_questions(given))
    expects = given["expect_status"] is not None or given["expect_body"] is not None
    if expects and not any(question.subject.startswith("http") for question in questions):
        message = "`--expect-status` and `--expect-body` need a `--check-network http(s)://...`"
        raise UsageError(message)
    return Plan(
        questions=questions,
        manners=Manners(
            timeout=given["check_timeout"],
            settle=given["settle"],
            expected=Expectation(status=given["expect_status"], body=given["expect_body"]),
        ),
        network=NetworkMode(given["network"]),
        timeout=given["timeout"],
        boot_timeout=given["boot_timeout"],
    )


def _questions(given: dict[str, Any]) -> Iterator[Question]:
    """Turn the `--check-…` options into questions, and refuse what cannot be asked."""
    from postroj.probe import ports
    from postroj.probe.checks import Question

    for kind in CheckKind:
        for subject in given[f"{kind}s"]:
            if kind is CheckKind.NETWORK:
                ports.endpoint(subject)
            if kind is CheckKind.FILE and not subject.startswith("/"):
                message = f"`--check-file` takes an absolute path of the guest, not '{subject}'"
                raise UsageError(message)
            yield Question(kind=kind, subject=subject)


def _terminal(stream: Any, questions: Sequence[Question]) -> Terminal:
    from postroj.probe.checks import NEW_FAILURES
    from postroj.report.terminal import Terminal

    return Terminal(
        lambda line: click.echo(line, file=stream, color=True),
        colour=console.colour_wanted(stream),
        busy=console.busy,
        width=max(len(subject) for subject in (NEW_FAILURES, *(q.subject for q in questions))),
    )


def _report_file(text: str) -> Path:
    """Read `json=FILE`.

    :raises UsageError: if it is of no known kind, or its folder does not exist.
    """
    kind, _, name = text.partition("=")
    if kind != "json" or not name:
        message = f"'{text}' is no report"
        raise UsageError(message, hint="`--report json=FILE`")
    path = Path(name)
    if not path.parent.is_dir() or path.is_dir():
        message = f"'{path}' cannot be a file"
        raise UsageError(message)
    return path
