"""Check that postroj works on this host, with real guests and a package built in one of them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from postroj.console import megabytes
from postroj.container.spec import GuestSpec
from postroj.errors import PostrojError
from postroj.guests import machine_for, start_guest
from postroj.model import NetworkMode
from postroj.prepare import obtain
from postroj.probe.ask.checks import Manners
from postroj.probe.ask.ports import HttpCriteria
from postroj.probe.ask.question import Question
from postroj.probe.package import package_file
from postroj.probe.plan import Plan
from postroj.probe.probe import probe
from postroj.verdict import CheckKind, Outcome, worst

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from postroj.container.spec import Machine
    from postroj.model import Image
    from postroj.verdict import CheckResult, ProbeResult, StepResult

NAME = "postroj-selftest"
PORT = 8421
GREETING = "postroj is here"

# the smallest Debian image has only Perl and sh
SERVER = rf"""#!/usr/bin/perl
use strict;
use warnings;
use IO::Socket::INET;
my $server = IO::Socket::INET->new(
    LocalAddr => '127.0.0.1', LocalPort => {PORT}, Listen => 5, ReuseAddr => 1
) or die "cannot listen: $!\n";
while (my $client = $server->accept) {{
    while (my $line = <$client>) {{ last if $line =~ /^\r?\n$/ }}
    print $client "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n{GREETING}\n";
    close $client;
}}
"""

UNIT = f"""[Unit]
Description=Service of the selftest of postroj
[Service]
ExecStart=/usr/libexec/{NAME}
[Install]
WantedBy=multi-user.target
"""

CONTROL = f"""Package: {NAME}
Version: 1.0
Architecture: all
Maintainer: postroj <postroj@localhost>
Depends: perl-base
Description: a service that answers
"""

POSTINST = f"""#!/bin/sh
set -e
systemctl daemon-reload
systemctl enable --quiet --now {NAME}.service
"""

# reads the files from stdin, separated by NUL, and writes the package to stdout
BUILD = f"""set -eu
cd "$(mktemp -d)"
mkdir -p t/DEBIAN t/usr/libexec t/usr/lib/systemd/system
perl -0 -e '
    my @names = @ARGV; @ARGV = ();
    for my $name (@names) {{
        my $text = <STDIN>; chomp $text;
        open my $file, ">", "t/$name" or die; print $file $text; close $file;
    }}
' DEBIAN/control DEBIAN/postinst usr/libexec/{NAME} usr/lib/systemd/system/{NAME}.service
chmod 755 t/DEBIAN/postinst t/usr/libexec/{NAME}
dpkg-deb --root-owner-group --build t p.deb >&2
cat p.deb
"""

PLAN = Plan(
    questions=(
        Question(kind=CheckKind.UNIT, subject=f"{NAME}.service"),
        Question(kind=CheckKind.NETWORK, subject=f"tcp://127.0.0.1:{PORT}"),
        Question(kind=CheckKind.NETWORK, subject=f"http://127.0.0.1:{PORT}/"),
    ),
    manners=Manners(timeout=30, settle=3, expected=HttpCriteria(status=200, body=GREETING)),
    network=NetworkMode.PRIVATE,
    timeout=300,
    boot_timeout=60,
    discover=False,
)


@dataclass(frozen=True, kw_only=True)
class Proof:
    """The result of one check on an image."""

    image: str
    what: str
    outcome: Outcome
    evidence: str
    seconds: float


def prove(names: list[str], *, own_kernel: bool = False) -> Iterator[Proof]:
    """Yield the results of all checks on each image; an error ends the checks of its image.

    `own_kernel` gives the guests kernels of their own.
    """
    for name in names:
        began = time.monotonic()
        try:
            with (
                obtain(name) as stored,
                machine_for(stored, wanted=own_kernel) as (image, machine),
            ):
                size = megabytes(sum(path.stat().st_size for path in image.layers))
                yield _of(image, "image stored", size, time.monotonic() - began)
                yield from _prove_guest(image, machine)
        except PostrojError as error:
            yield Proof(
                image=name,
                what="image and guest",
                outcome=Outcome.ERROR,
                evidence="\n".join(part for part in (error.reason, error.hint) if part),
                seconds=time.monotonic() - began,
            )


def _prove_guest(image: Image, machine: Machine | None) -> Iterator[Proof]:
    with package_file.downloads("selftest") as claim:
        deb = claim.path / f"{NAME}_1.0_all.deb"
        yield from _prove_boot(image, machine, deb)
        yield from _prove_probe(image, machine, deb)


def _prove_boot(image: Image, machine: Machine | None, deb: Path) -> Iterator[Proof]:
    began = time.monotonic()
    spec = GuestSpec(layers=image.layers, systemd=image.systemd, machine=machine)
    with start_guest(spec) as guest:
        yield _of(image, "guest boots", guest.state, time.monotonic() - began)
        began = time.monotonic()
        lines = guest.run(["hostnamectl"], timeout=30).text.splitlines()
        fields = dict(line.strip().split(": ", 1) for line in lines if ": " in line)
        system = fields.get("Operating System", "")
        yield _of(image, "hostnamectl answers", system, time.monotonic() - began)
        began = time.monotonic()
        files = "\0".join((CONTROL, POSTINST, SERVER, UNIT)) + "\0"
        built = guest.run(["sh", "-c", BUILD], stdin=files.encode(), timeout=60)
        deb.write_bytes(built.stdout)
        size = f"{len(built.stdout)} bytes"
        yield _of(image, "package with a service built", size, time.monotonic() - began)


def _prove_probe(image: Image, machine: Machine | None, deb: Path) -> Iterator[Proof]:
    result = probe(image, [package_file.recognise(deb)], PLAN, _Deaf(), machine=machine)
    if result.reason:
        yield _of(image, "probe", result.reason, result.timings["total"], Outcome.ERROR)
    for step in result.steps:
        yield _of(image, f"probe: {step.name}", step.reason, step.seconds, step.done)
        for check in step.checks:
            what = f"probe: {check.kind} {check.subject}"
            yield _of(image, what, check.reason, check.seconds, check.outcome)


def _of(
    image: Image, what: str, evidence: str, seconds: float, outcome: Outcome = Outcome.PASS
) -> Proof:
    return Proof(image=image.name, what=what, outcome=outcome, evidence=evidence, seconds=seconds)


def verdict(proofs: list[Proof]) -> Outcome:
    """Return `PASS` or `ERROR`, as no failure is the fault of our own package."""
    bad = worst(proof.outcome for proof in proofs) is not Outcome.PASS
    return Outcome.ERROR if bad else Outcome.PASS


class _Deaf:
    """An audience that ignores all events, as `Proof`s report them."""

    def begin_probe(self, image: str, package: str) -> None: ...
    def begin_part(self, part: str) -> None: ...
    def end_step(self, step: StepResult) -> None: ...
    def end_check(self, check: CheckResult) -> None: ...
    def end_probe(self, probe: ProbeResult) -> None: ...
