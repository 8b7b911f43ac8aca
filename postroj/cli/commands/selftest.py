"""`postroj selftest`: check that postroj works on this host."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from postroj import console
from postroj.cli import options
from postroj.cli.completion import complete_image
from postroj.errors import ExitStatus
from postroj.report.visible import visible
from postroj.verdict import Outcome

if TYPE_CHECKING:
    from postroj.selftest import Proof

WIDTH = 46
"""Width of the column with what was checked."""


@click.command()
@click.argument("names", metavar="[NAME]...", nargs=-1, shell_complete=complete_image)
@options.own_kernel
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def selftest(names: tuple[str, ...], own_kernel: bool, as_json: bool) -> int:
    """Check that postroj works on this host, with the images NAME or debian-stable.

    Each image is pulled if needed and booted; a small package with a service is built in the guest
    and probed. The exit status is 0 if everything worked, 4 otherwise.
    """
    from postroj.container.start import become_root
    from postroj.image.catalog import catalog
    from postroj.selftest import prove, verdict

    become_root()
    entries = [catalog.find(name) for name in names or ("debian-stable",)]
    proofs = []
    for proof in prove([entry.name for entry in entries], own_kernel=own_kernel):
        proofs.append(proof)
        if not as_json:
            _print(proof)
    seconds = sum(proof.seconds for proof in proofs)
    outcome = verdict(proofs)
    if as_json:
        document = {"outcome": outcome, "proofs": [asdict(proof) for proof in proofs]}
        click.echo(json.dumps(document, indent=2))
    else:
        passed = sum(proof.outcome is Outcome.PASS for proof in proofs)
        click.echo(f"{outcome.upper()}  {passed} of {len(proofs)} checks passed in {seconds:.1f} s")
    return ExitStatus.PASSED if outcome is Outcome.PASS else ExitStatus.ERROR


def _print(proof: Proof) -> None:
    sentence, *evidence = [visible(line) for line in proof.evidence.splitlines()] or [""]
    word = f"{proof.outcome:<5}"
    if console.colour_wanted(sys.stdout):
        word = click.style(word, fg="green" if proof.outcome is Outcome.PASS else "red")
    click.echo(f"{word} {proof.seconds:6.1f} s  {proof.image}  {proof.what:<{WIDTH}}  {sentence}")
    for line in evidence:
        click.echo(f"{'':>16}| {line}")
