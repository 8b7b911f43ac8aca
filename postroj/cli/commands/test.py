"""`postroj test`: probe what a build has left, each package on the images that fit."""

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
    ("test dist/*", "each package where it fits"),
    ("test ../hello_1.0-1_amd64.changes", "what a source package made"),
    ("test RPMS/ -i 'fedora-*'", "a folder, on every Fedora"),
    ("test dist/*.deb --together", "in one transaction"),
    ("test dist/ --steps all", "their whole life"),
    ("test", "what postroj.toml names"),
)
SECTIONS = {
    "Packages and images": ("together", "image_names", "architecture"),
    **{
        title: names
        for title, names in probe_options.SECTIONS.items()
        if title != "Packages and images"
    },
}


@click.command(cls=check_options.Ordered, sections=SECTIONS, examples=EXAMPLES)
@click.argument("packages", metavar="[FILE]...", nargs=-1, type=host_paths.PACKAGES)
@click.option(
    "--together",
    is_flag=True,
    help="Install all packages of a format in one transaction, not each for itself.",
)
@probe_options.options
@click.pass_context
def test(ctx: click.Context, /, together: bool, **given: Any) -> int:
    """Probe packages, each for itself, on the images that can install them.

    FILE is a package, a pattern, a folder with packages, a .changes file or a URL. A package is
    installed together with those of the others that it needs. Packages for another architecture,
    debug symbols and files that are no packages are named and left out. Without FILE the packages
    are those of the project file; each of its tables [[package]] is one transaction.

    Exit status: as of `postroj pkgprobe`.
    """
    from postroj import matrix
    from postroj.cli import probing

    origin = probing.settle(ctx, given, tables=True)
    tables = () if given["packages"] else origin.package_sets()
    sets = tables or (given["packages"],)

    def prober(images: Sequence[str], plan: Plan, stage: Screen, **how: Any) -> Findings:
        apart = not tables and not together
        return matrix.probe_each(images, sets, plan, stage, apart=apart, **how)

    return probing.probe(ctx, given, origin, prober)
