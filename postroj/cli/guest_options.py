"""Options that describe a guest, and the conversion of their values."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from postroj import away
from postroj.cli import file_error, host_paths, options, usage_error
from postroj.cli.completion import complete_image
from postroj.errors import ExitStatus, PostrojError, UsageError
from postroj.model import NetworkMode

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from postroj.cli.options import F
    from postroj.container.guest import Command
    from postroj.container.limits import Asked
    from postroj.container.spec import Bind


COMMANDS = ("arch", "guix")
"""Names of images that are commands, too."""
SHORTEST = 5
"""Letters of a name that commands do not resemble by chance."""


class PassingThrough(click.Command):
    """A command that exits with the status of the guest's command, or 125 if postroj failed."""

    failed = ExitStatus.RUN_FAILED

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Parse the command line; a usage error has the status of a failure, too."""
        try:
            return super().make_context(*args, **kwargs)
        except click.ClickException as error:
            refused = usage_error(error)
            refused.exit_status = self.failed
            raise refused from error

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; every error of postroj gets the status of a failure."""
        try:
            return super().invoke(ctx)
        except PostrojError as error:
            error.exit_status = self.failed
            raise
        except OSError as error:
            failure = file_error(error)
            failure.exit_status = self.failed
            raise failure from error


def _image(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Return the image, or None for `-it` and `-i -t`, which users of docker type."""
    return None if value in ("t", "-t") else value


def docker_options(function: F) -> F:
    """Add the options by which docker asks for a terminal and removal; they change nothing."""
    for names in (("-t", "--tty"), ("--interactive",), ("--rm",)):
        function = click.option(*names, is_flag=True, hidden=True, expose_value=False)(function)
    return function


def image_and_command(image: str | None, argv: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """Return the image and the command, where the image may stand before the command."""
    from postroj.image import selection

    if image is None and argv and argv[0] not in COMMANDS:
        name = argv[0].replace(":", "-")  # as registries have it
        if selection.is_image(name):
            return name, argv[1:]
        _refuse_mistyped(name)
    return image or selection.DEFAULT, argv


def _refuse_mistyped(word: str) -> None:
    """Refuse a word that is almost the name of an image, and no command of this host either.

    :raises UsageError: if it is.
    """
    import difflib
    import shutil

    from postroj.image import selection
    from postroj.image.catalog import catalog

    known = [name for name in catalog.names() if len(name) >= SHORTEST]
    near = difflib.get_close_matches(word.lower(), known, n=1, cutoff=0.8)
    if near and "/" not in word and not shutil.which(word):
        message = f"'{word}' is neither an image nor a command of this host"
        hint = f"did you mean '{near[0]}'? with `--image {selection.DEFAULT}` it is a command"
        raise UsageError(message, hint=hint)


def guest_options(function: F) -> F:
    """Add the options of `run` and `shell` that describe the guest."""
    decorators = [
        click.option(
            "-i",
            "--image",
            "image_name",
            metavar="NAME",
            callback=_image,
            shell_complete=complete_image,
            help="Image of the guest; pulled if it is not stored. [default: debian-stable]",
        ),
        docker_options,
        options.architecture,
        options.network,
        click.option(
            "-p",
            "--publish",
            "published",
            multiple=True,
            metavar="[ADDRESS:]HOST:GUEST[/tcp|/udp]",
            help="Publish a guest port, or a range of ports, on the host; ADDRESS is 127.0.0.1 "
            "by default. Repeatable.",
        ),
        options.proxy,
        bind_options,
        options.limits,
        options.private_users,
        click.option(
            "--read-only",
            is_flag=True,
            help="Mount the root read-only, except for /run, /tmp and /var.",
        ),
        options.variables,
        options.directory,
        options.boot_timeout,
        options.own_kernel,
        click.option("--name", "given", metavar="NAME", default="", help="Name of the guest."),
    ]
    for decorate in reversed(decorators):
        function = decorate(function)
    return function


def bind_options(function: F) -> F:
    """Add `--bind` and `--bind-ro`."""
    decorators = [
        click.option(
            "--bind",
            "binds",
            multiple=True,
            type=host_paths.SHARED,
            metavar="SOURCE[:TARGET]",
            help="Mount a file or directory of the host in the guest. Repeatable.",
        ),
        click.option(
            "--bind-ro",
            "read_only_binds",
            multiple=True,
            type=host_paths.SHARED,
            metavar="SOURCE[:TARGET]",
            help="Like --bind, but read-only.",
        ),
    ]
    for decorate in reversed(decorators):
        function = decorate(function)
    return function


def read_binds(binds: Sequence[str], read_only: Sequence[str]) -> tuple[Bind, ...]:
    """Return the values of `--bind` and `--bind-ro`.

    :raises UsageError: as `bind` does.
    """
    return (
        *(bind(text, read_only=False) for text in binds),
        *(bind(text, read_only=True) for text in read_only),
    )


def guest_proxies(text: str | None, mode: NetworkMode) -> dict[str, str]:
    """Return the proxy variables for the value of `--proxy`; empty without one.

    :raises UsageError: if the URL is invalid or the guest's network cannot reach it.
    """
    if text is None:
        return {}
    from postroj.container.network import proxies

    found = proxies.read(text, os.environ)
    proxies.require_reachable(found, mode)
    return found


def guest_limits(
    *, memory: str | None, cpus: float | None, pids: int | None, network: str, private_users: bool
) -> Asked:
    """Return the limits for the values of `--memory`, `--cpus` and `--pids`.

    :raises UsageError: if a size is invalid, or if only root may have what is asked for, or nobody.
    """
    from postroj import user
    from postroj.container.limits import Asked, size

    if not user.is_root():
        wanted = {"--private-users": private_users, "--network=host": network == NetworkMode.HOST}
        for option in (option for option, is_wanted in wanted.items() if is_wanted):
            message = f"`{option}` needs root: the guests of a user are in a user namespace"
            raise UsageError(message, hint="run the same command with `sudo`, or omit it")
    if private_users and network == NetworkMode.HOST:
        message = "`--private-users` does not work with `--network=host`"
        raise UsageError(message)
    return Asked(memory=size(memory) if memory else None, cpus=cpus, processes=pids)


def require_possible(
    *,
    own_kernel: bool,
    network: str,
    private_users: bool,
    boot: bool = True,
    binds: bool = False,
    read_only: bool = False,
) -> None:
    """Refuse options that a guest with a kernel of its own does not have.

    :raises UsageError: if there is one.
    """
    refused = {
        "--no-boot": (not boot, "its kernel starts its init"),
        "--network=host": (network == NetworkMode.HOST, "it has network devices of its own"),
        "--bind": (binds, "its file system is its own; `postroj cp` copies files"),
        "--private-users": (private_users, "its users are its own already"),
        "--read-only": (read_only, "use a container for that"),
    }
    for option, (is_given, why) in refused.items():
        if own_kernel and is_given:
            message = f"`{option}` does not work with `--vm`"
            raise UsageError(message, hint=why)


def in_guest(argv: Sequence[str], variables: Sequence[str], chdir: str | None) -> Command:
    """Return the guest command for the arguments of a command line.

    :raises UsageError: if a variable has no name, or the directory is not absolute.
    """
    from postroj.container.guest import Command

    if chdir is not None and not chdir.startswith("/"):
        message = f"`--chdir` takes an absolute path in the guest, not '{chdir}'"
        raise UsageError(message)
    return Command(argv=tuple(argv), env=dict(_variables(variables)), chdir=chdir)


def _variables(texts: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Read NAME=VALUE, or NAME to copy our own variable if it is set, as docker does."""
    for text in texts:
        name, separator, value = text.partition("=")
        if not name:
            message = f"`--setenv {text}` has no variable name"
            raise UsageError(message)
        if separator:
            yield name, value
        elif (copied := away.variable(name)) is not None:
            yield name, copied


def bind(text: str, *, read_only: bool) -> Bind:
    r"""Read SOURCE[:TARGET], with `\:` for a colon in a name, as in nspawn.

    :raises UsageError: if the source does not exist, or the target is not absolute.
    """
    from postroj.container.spec import Bind

    escaped = re.findall(r"((?:\\.|[^:\\])*)(?::|$)", text)[:-1]
    parts = [re.sub(r"\\(.)", r"\1", part) for part in escaped]
    source = Path(*parts[:1]).absolute()
    target = parts[1] if len(parts) > 1 else str(source)
    if not any(parts[:1]) or len(parts) > 2 or not target.startswith("/"):
        message = f"'{text}' is not SOURCE[:TARGET] with an absolute TARGET"
        raise UsageError(message)
    if not source.exists():
        message = f"'{source}' does not exist"
        raise UsageError(message)
    return Bind(source=source, target=target, read_only=read_only)
