"""Build the command line that repeats one probe from the options of the current one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from postroj import paths
from postroj.cli import check_options
from postroj.cli.configuration import absolute_put
from postroj.probe.course import REPOSITORY
from postroj.probe.reproduce import Reproduction, option
from postroj.urls import redacted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

OWN = ("packages", "digests", "image_names", "upgrade_from")
"""Parameters that `Reproduction` has fields for."""
OF_A_RUN = (
    *("jobs", "fail_fast", "reports", "as_json", "artifacts", "shell_on_failure", "keep"),
    *("together", "quiet", "verbose"),
)
"""Parameters that do not change a probe."""
FILES = ("project_file", "goss_files", "goss", "goss_vars")
"""Parameters that are paths or URLs."""
CHECKS = ("after", *(f"{kind}s" for kind in check_options.KINDS))
"""Parameters whose order matters."""


def reproduction(ctx: click.Context, given: Mapping[str, Any]) -> Reproduction:
    """Return the reproduction of the command line that `ctx` parsed into `given`.

    It has the packages of `pkgprobe`; `test` finds out later which they are.
    """
    return Reproduction(
        program=("postroj", *_of_group(), "pkgprobe"),
        packages=tuple(_absolute(text) for text in given["packages"]),
        digests=tuple(given.get("digests", ())),
        upgrade_from=tuple(_absolute(text) for text in given["upgrade_from"]),
        options=tuple(_options(ctx, given)),
    )


def _options(ctx: click.Context, given: Mapping[str, Any]) -> Iterator[str]:
    """Yield the words of the options that were given or differ from their defaults."""
    defaults = ctx.command.make_context(ctx.info_name, [], resilient_parsing=True).params
    for param in ctx.command.params:
        name = str(param.name)
        if not isinstance(param, click.Option) or name in (*OWN, *OF_A_RUN) or name not in given:
            continue
        if name == "after":  # and all checks with it
            yield from _checks(given, ctx.meta.get(check_options.BOUND, {}))
        if name in CHECKS:
            continue
        typed = ctx.get_parameter_source(name) is not ParameterSource.DEFAULT
        if typed or given[name] != defaults[name]:
            yield from _words(param, given[name])


def _checks(given: Mapping[str, Any], steps: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Yield the words of the checks, those without `--after` first."""
    after = ""
    for kind, subject, step in sorted(check_options.bound(given, steps), key=lambda one: one[2]):
        if step != after:
            yield from option("--after", step)
        after = step
        yield from option(f"--check-{kind}", subject)


def _words(param: click.Option, value: Any) -> Iterator[str]:
    """Yield the words of one option."""
    if param.is_flag:
        yield _longest(param.opts if value else param.secondary_opts)
        return
    for one in value if param.multiple else (value,):
        text = str(one).removesuffix(".0") if isinstance(one, float) else str(one)
        is_path = isinstance(param.type, click.Path) or param.name in FILES
        text = _absolute(text) if is_path else text
        text = absolute_put(text) if param.name == "puts" else text
        is_secret = param.name == "proxy" and "://" in text  # leave out the password
        yield from option(_longest(param.opts), redacted(text) if is_secret else text)


def _longest(names: list[str]) -> str:
    return max(names, key=len)


def _absolute(text: str) -> str:
    """Return a path as absolute; leave URLs and `repo` unchanged."""
    return text if "://" in text or text == REPOSITORY else str(Path(text).absolute())


def _of_group() -> Iterator[str]:
    """Yield the options that select catalog and lock file, also if the environment set them."""
    if catalog := os.environ.get("POSTROJ_CATALOG"):
        yield from option("--catalog", _absolute(catalog))
    if lock := paths.lock_file():
        yield from option("--lock", str(lock))
    elif "POSTROJ_LOCK" in os.environ:
        yield "--ignore-lock"
