"""Options shared by several commands."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from postroj import console
from postroj.cli import host_paths
from postroj.cli.completion import complete_architecture, complete_image
from postroj.image.architectures import machine
from postroj.model import REQUIRABLE, REQUIRE, Kernel, NetworkMode

F = TypeVar("F", bound=Callable[..., Any])


def network(function: F) -> F:
    """Add `--network`."""
    return click.option(
        "--network",
        type=click.Choice([mode.value for mode in NetworkMode]),
        default=NetworkMode.PRIVATE.value,
        show_default=True,
        help="The guest's network: its own with outbound access, the host's, or none.",
    )(function)


def proxy(function: F) -> F:
    """Add `--proxy`."""
    text = "HTTP proxy for the guest; `host` copies the proxy variables of this shell."
    return click.option("--proxy", metavar="URL|host", help=text)(function)


def variables(function: F) -> F:
    """Add `--setenv`."""
    text = "Set an environment variable; without a value, copy it from this shell. Repeatable."
    return click.option(
        "-e",
        "--setenv",
        "variables",
        multiple=True,
        type=host_paths.VARIABLE,
        metavar="NAME[=VALUE]",
        help=text,
    )(function)


def directory(function: F) -> F:
    """Add `--chdir`."""
    text = "Working directory in the guest; an absolute path."
    return click.option("-w", "--chdir", type=host_paths.IN_GUEST, metavar="DIR", help=text)(
        function
    )


def seconds(name: str, default: float, text: str, *, zero: bool = False) -> Callable[[F], F]:
    """Add an option that takes seconds, above 0 unless `zero` is set."""
    kind = click.FloatRange(min=0, min_open=not zero)
    return click.option(
        name, type=kind, default=default, show_default=True, metavar="SECONDS", help=text
    )


def boot_timeout(function: F) -> F:
    """Add `--boot-timeout`."""
    text = "Maximum time until the guest has booted."
    return seconds("--boot-timeout", 60, text)(function)


def limits(function: F) -> F:
    """Add `--memory`, `--cpus` and `--pids`."""
    decorators = [
        click.option(
            "--memory",
            metavar="SIZE",
            help="Memory limit of a guest, such as 512M or 2G; written files use up to two "
            "thirds of it. [default: its share of this host]",
        ),
        click.option(
            "--cpus",
            type=click.FloatRange(min=0.01),  # a millisecond of each period, the kernel's least
            metavar="N",
            help="CPU limit of a guest, such as 1.5. [default: no limit]",
        ),
        click.option(
            "--pids",
            type=click.IntRange(min=1),
            metavar="N",
            help="Limit of processes and threads in a guest. [default: 4096]",
        ),
    ]
    for decorate in reversed(decorators):
        function = decorate(function)
    return function


def private_users(function: F) -> F:
    """Add `--private-users`."""
    text = "Map the guest's users to unprivileged users of this host."
    return click.option("--private-users", is_flag=True, help=text)(function)


def vm(function: F) -> F:
    """Add `--vm` and `--vm=auto`, for commands that call `with_vm_value`."""
    return click.option(
        "--vm",
        type=click.Choice([Kernel.OWN.value, Kernel.AUTO.value, Kernel.SHARED.value]),
        default=Kernel.SHARED.value,
        metavar="[=auto]",
        help="Give guests a kernel of their own, in qemu; with =auto only for what a container "
        "cannot show.",
    )(function)


def with_vm_value(args: Sequence[str]) -> list[str]:
    """Return the words of a command line with a value for `--vm`: the next word is none."""
    return [f"--vm={Kernel.OWN}" if word == "--vm" else word for word in args]


def own_kernel(function: F) -> F:
    """Add `--vm`."""
    text = "Give the guest a kernel of its own, in qemu."
    return click.option("--vm", "own_kernel", is_flag=True, help=text)(function)


def require(function: F) -> F:
    """Add `--require`, which sets the variable that every implicit pull obeys, too."""

    def set_variable(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
        if value:
            os.environ[REQUIRE] = value

    return click.option(
        "--require",
        type=click.Choice([verification.value for verification in REQUIRABLE]),
        expose_value=False,
        callback=set_variable,
        help="Refuse a weaker verification, also of a fall-back. [default: POSTROJ_REQUIRE]",
    )(function)


def as_machine(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Return an architecture, given under any of its names, as `uname -m` has it."""
    return machine(value) if value else value


def architecture(function: F) -> F:
    """Add `--arch`."""
    text = "Architecture, such as x86_64, amd64 or linux/arm64. [default: this host's]"
    return click.option(
        "--arch",
        "architecture",
        metavar="ARCH",
        callback=as_machine,
        shell_complete=complete_architecture,
        help=text,
    )(function)


def images(text: str) -> Callable[[F], F]:
    """Add `--image`, which takes several names, also with commas between them."""

    def split(
        ctx: click.Context, param: click.Parameter, value: tuple[str, ...]
    ) -> tuple[str, ...]:
        return tuple(name for text in value for name in text.split(",") if name)

    return click.option(
        "-i",
        "--image",
        "image_names",
        multiple=True,
        metavar="NAME",
        callback=split,
        shell_complete=complete_image,
        help=f"Image name or pattern, such as 'debian-*'; several with commas. Repeatable. {text}",
    )


def as_json(function: F) -> F:
    """Add `--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(function)


def verbosity(function: F) -> F:
    """Add `--quiet` and `--verbose`, as they stand before the name of the command."""

    def set_verbosity(ctx: click.Context, param: click.Parameter, value: int | None) -> None:
        if value is not None:
            console.set_up_logging(value)

    for name, value, text in (
        ("--verbose", 1, "Show every command that is run."),
        ("--quiet", -1, "Show only what did not pass."),
    ):
        function = click.option(
            name[1:3],
            name,
            flag_value=value,
            type=int,
            expose_value=False,
            callback=set_verbosity,
            help=text,
        )(function)
    return function
