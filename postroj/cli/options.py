"""Options that mean the same in several commands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from postroj.model import NetworkMode

F = TypeVar("F", bound=Callable[..., Any])


def network(function: F) -> F:
    """Add `--network`."""
    return click.option(
        "--network",
        type=click.Choice([mode.value for mode in NetworkMode]),
        default=NetworkMode.PRIVATE.value,
        show_default=True,
        help="A network of its own with outbound access, the host's, or none.",
    )(function)


def proxy(function: F) -> F:
    """Add `--proxy`."""
    text = "A proxy for what fetches in the guest; `host` takes those of the environment here."
    return click.option("--proxy", metavar="URL|host", help=text)(function)


def variables(function: F) -> F:
    """Add `--setenv`."""
    text = "Set a variable; without a value take it over from here."
    return click.option(
        "-e", "--setenv", "variables", multiple=True, metavar="NAME[=VALUE]", help=text
    )(function)


def directory(function: F) -> F:
    """Add `--chdir`."""
    text = "Working directory, an absolute path in the guest."
    return click.option("-w", "--chdir", metavar="DIR", help=text)(function)


def seconds(name: str, default: float, text: str, *, zero: bool = False) -> Callable[[F], F]:
    """Add an option that takes seconds; none at all only with `zero`."""
    kind = click.FloatRange(min=0, min_open=not zero)
    return click.option(
        name, type=kind, default=default, show_default=True, metavar="SECONDS", help=text
    )


def boot_timeout(function: F) -> F:
    """Add `--boot-timeout`."""
    text = "How long the guest may take until it is ready."
    return seconds("--boot-timeout", 60, text)(function)


def limits(function: F) -> F:
    """Add `--memory`, `--cpus` and `--pids`."""
    decorators = [
        click.option(
            "--memory",
            metavar="SIZE",
            help="The most memory that a guest takes, as 512M or 2G; two thirds of it can be "
            "files. [default: its share of this host]",
        ),
        click.option(
            "--cpus",
            type=click.FloatRange(min=0, min_open=True),
            metavar="N",
            help="The most processors' worth of time that a guest takes, as 1.5. "
            "[default: no limit]",
        ),
        click.option(
            "--pids",
            type=click.IntRange(min=1),
            metavar="N",
            help="The most processes and threads in a guest. [default: 4096]",
        ),
    ]
    for decorate in reversed(decorators):
        function = decorate(function)
    return function


def private_users(function: F) -> F:
    """Add `--private-users`."""
    text = "Give the guest users of its own: its root is nobody on this host."
    return click.option("--private-users", is_flag=True, help=text)(function)


def architecture(function: F) -> F:
    """Add `--arch`."""
    text = "Of this architecture, as `uname -m` has it, instead of this host's."
    return click.option("--arch", "architecture", metavar="ARCH", help=text)(function)


def as_json(function: F) -> F:
    """Add `--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON instead of lines.")(
        function
    )
