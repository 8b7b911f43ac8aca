"""`postroj init`: write the project file of a package from what it is found to do."""

from __future__ import annotations

import logging
import os
import sys
from glob import glob
from pathlib import Path
from typing import TYPE_CHECKING

import click

from postroj.cli import host_paths, options
from postroj.cli.help import Sectioned
from postroj.errors import NothingToTest, PackageError, PostrojError, UsageError
from postroj.verdict import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from postroj.probe.package.package_file import PackageFile
    from postroj.probe.plan import Plan
    from postroj.probe.survey import Surveyor
    from postroj.verdict import Report

log = logging.getLogger(__name__)

STDOUT = Path("-")
REFUSALS: dict[Outcome, tuple[type[PostrojError], str]] = {
    Outcome.FAIL: (PackageError, "the package fails, so nothing was written"),
    Outcome.ERROR: (PostrojError, "the package was not judged, so nothing was written"),
    Outcome.SKIP: (NothingToTest, "nothing of the package was tested, so nothing was written"),
}
SECTIONS = {
    "Packages and images": ("together", "image_names", "architecture"),
    "Result": ("output", "force", "quiet", "verbose"),
}
EXAMPLES = (
    ("init", "what is in dist/"),
    ("init hello_1.0_all.deb", "of one package"),
    ("init dist/*.deb dist/*.rpm -i debian-trixie,fedora-43", "on several images"),
    ("init hello.deb -o -", "only look"),
)


@click.command(cls=Sectioned, sections=SECTIONS, examples=EXAMPLES)
@click.argument("packages", metavar="[PACKAGE]...", nargs=-1, type=host_paths.SURVEYED)
@click.option(
    "--together",
    is_flag=True,
    help="Take all packages of a format for one, installed in one transaction.",
)
@options.images("[default: one for the format]")
@options.architecture
@click.option(
    "-o",
    "--output",
    type=host_paths.CONTRACT,
    default=host_paths.CONTRACT_NAME,
    show_default=True,
    metavar="FILE",
    help="File to write; - is stdout.",
)
@click.option("--force", is_flag=True, help="Replace the file if it exists.")
@options.verbosity
def init(
    packages: tuple[str, ...],
    together: bool,
    image_names: tuple[str, ...],
    architecture: str | None,
    output: Path,
    force: bool,
) -> int:
    """Write postroj.toml from what a package is found to do.

    PACKAGE is a package, pattern, folder, .changes file or URL; without it, the folder dist/
    counts. The package is installed in a fresh guest, started, and met again after a reboot. What
    then holds becomes tables [[check]]: its units, programs, ports, users, files with their modes.
    `postroj test` holds the next build to them.

    Exit status: 0 if the file was written, 1 if the package is to blame, else as of `postroj test`.
    """
    from postroj import matrix
    from postroj.cli import probing
    from postroj.cli.files import write_file
    from postroj.container.start import become_root
    from postroj.image import selection
    from postroj.probe.survey import Surveyor
    from postroj.project import contract

    _require_place(output, force=force)
    texts = packages or (_built(),)
    files = _files(texts, architecture)
    if not together:
        _require_one(files)
    selection.check(image_names, architecture or "")
    become_root()
    surveyor = Surveyor()
    plan = _plan(surveyor, architecture)
    stream = sys.stderr if output == STDOUT else sys.stdout
    screen = probing.screen(stream, plan)
    images = image_names or tuple(_images(texts, files, architecture))
    findings = matrix.probe_each(images, [texts], plan, screen, apart=not together)
    screen.end_report(findings.report, findings.seconds)
    if findings.interruption:
        raise findings.interruption
    if refusal := REFUSALS.get(findings.report.outcome):
        kind, sentence = refusal
        raise kind(sentence)
    folder = Path() if output == STDOUT else output.parent
    named = list(_named(texts, files, findings.report, folder))
    text = contract.render(named, surveyor.promises, surveyor.formats, architecture or "")
    if output == STDOUT:
        click.echo(text, nl=False)
        return 0
    write_file(output, text, replace=force)
    count = text.count("[[check]]")
    log.info("wrote %d tables to '%s'; `postroj test` checks them", count, output)
    return 0


def _require_place(output: Path, *, force: bool) -> None:
    """Refuse a file that exists, unless it may be replaced, and one that cannot be written."""
    if output == STDOUT:
        return
    if not force and os.path.lexists(output):
        message = f"'{output}' exists"
        raise UsageError(message, hint="`--force` replaces it, `-o -` prints")
    if output.is_dir() or not output.parent.is_dir():
        message = f"'{output}' is a folder, or its folder does not exist"
        raise UsageError(message)


def _built() -> str:
    if folder := host_paths.built():
        return folder
    message = f"no package is given, and there is no folder '{host_paths.BUILT}'"
    raise UsageError(message, hint="`postroj init PACKAGE`")


def _files(texts: Sequence[str], architecture: str | None) -> list[PackageFile]:
    """Return the packages that are files here."""
    from postroj.image import architectures
    from postroj.probe.package.collect import LeftOut, collect, expand

    machine = architecture or architectures.of_this_host()
    places = expand(text for text in texts if "://" not in text)
    return collect(places, (), machine, LeftOut(list))


def _require_one(files: Sequence[PackageFile]) -> None:
    """Refuse packages of one format that have nothing to do with each other."""
    from postroj.probe.package.formats import Format
    from postroj.probe.package.together import divide

    for form in Format:
        groups = divide([file for file in files if file.format is form])
        if len(groups) > 1:
            names = " and ".join(f"'{group[0].name}'" for group in groups[:2])
            message = f"{names} are installed each for itself, and a contract is about one of them"
            raise UsageError(message, hint="name one of them, or `--together`")


def _images(
    texts: Sequence[str], files: Sequence[PackageFile], architecture: str | None
) -> Iterator[str]:
    """Yield one image for each format: the default one, or another that fits."""
    from postroj.image import selection
    from postroj.matrix import homes
    from postroj.probe.managers import installers
    from postroj.probe.package.formats import SUFFIX, Format

    for form in Format:
        own = [file for file in files if file.format is form]
        if own or any("://" in text and SUFFIX[form] in text for text in texts):
            managers = installers(form)
            usual = sorted(homes(own)) or selection.DEFAULTS
            yield from selection.choose_fitting([*usual], managers, architecture or "")[-1:]


def _plan(surveyor: Surveyor, architecture: str | None) -> Plan:
    from postroj.model import NetworkMode
    from postroj.probe.ask.checks import Manners
    from postroj.probe.plan import Plan
    from postroj.probe.survey import STEPS

    return Plan(
        questions=(),
        manners=Manners(),
        network=NetworkMode.PRIVATE,
        timeout=600,
        boot_timeout=60,
        steps=STEPS,
        architecture=architecture or "",
        survey=surveyor,
    )


def _named(
    texts: Sequence[str], files: Sequence[PackageFile], report: Report, folder: Path
) -> Iterator[str]:
    """Yield the packages that were probed, as the project file names them."""
    probed = [probe.package for probe in report.probes]
    yield from (text for text in texts if "://" in text)
    for file in files:
        if any(file.name in names for names in probed):
            yield _pattern(file, folder.absolute())


def _pattern(file: PackageFile, folder: Path) -> str:
    """Return a package's path from a folder, without its version if no other file matches then."""
    path = os.path.relpath(file.path, folder)
    above, slash, name = path.rpartition("/")
    version = file.metadata.version
    pattern = f"{above}{slash}{name.replace(version, '*')}" if version else path
    matches = glob(pattern, root_dir=folder)  # noqa: PTH207 relative to a folder
    return pattern if len(matches) == 1 else path
