"""`postroj pkgprobe`: probe packages in fresh guests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from postroj.cli import check_options, host_paths, probe_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from postroj.probe.plan import Plan
    from postroj.report.screen import Screen
    from postroj.tasks import Findings

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
    type=host_paths.PACKAGE,
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
def pkgprobe(ctx: click.Context, /, **given: Any) -> int:
    """Install packages in fresh guests, and check that they work.

    Exit status: 0 all passed, 1 the package is to blame, 2 usage error, 3 nothing was tested,
    4 host, image or guest failed, 130 interrupted.
    """
    from postroj import matrix
    from postroj.cli import probing

    origin = probing.settle(ctx, given)

    def prober(images: Sequence[str], plan: Plan, stage: Screen, **how: Any) -> Findings:
        packages, digests = given["packages"], given["digests"]
        return matrix.probe_all(images, packages, digests, plan, stage, **how)

    return probing.probe(ctx, given, origin, prober)
