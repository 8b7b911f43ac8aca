"""Reports of several nights, as files."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from postroj.report import json
from postroj.verdict import Host, Outcome, Package, ProbeResult, Report
from tests.unit.report.samples import check, probe

if TYPE_CHECKING:
    from pathlib import Path

HOST = Host(
    kernel="6.12.9-amd64", architecture="x86_64", distribution="Debian GNU/Linux 13", is_root=True
)


def night(
    day: int,
    outcome: Outcome,
    version: str = "7.0-1",
    *,
    image: str = "debian-trixie",
    digest: str = "a",
    name: str = "redis",
) -> ProbeResult:
    """Return the probe of a package in a night of January 2026."""
    file = f"{name}_{version}_amd64.deb"
    package = Package(
        file=file,
        name=name,
        version=version,
        architecture="amd64",
        sha256=version.encode().hex().ljust(64, "0"),
    )
    reason = {Outcome.FAIL: "failed, status 1\nlog", Outcome.ERROR: "no name server"}
    one = probe(image, check(outcome, f"{name}.service", reason.get(outcome, "up")), package=file)
    if outcome is Outcome.SKIP:
        one = replace(one, steps=(replace(one.steps[0], done=outcome),))
    return replace(
        one,
        packages=(package,),
        date=f"2026-01-{day:02}T03:00:00Z",
        architecture="x86_64",
        image_digest=digest * 64,
    )


def put(folder: Path, day: int, *probes: ProbeResult, version: str = "0.1.0") -> Path:
    """Write the report of a night."""
    report = Report(probes=probes, date=f"2026-01-{day:02}T03:00:00Z", version=version, host=HOST)
    file = folder / f"{day:02}.json"
    file.write_text(json.render(report))
    os.utime(file, (0, 0))
    return file
