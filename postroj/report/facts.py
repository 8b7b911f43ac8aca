"""When, where and of what a report was made, in words; all of it is visible text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from postroj.report.visible import visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from postroj.verdict import Package, ProbeResult, Report

Facts = tuple[tuple[str, str], ...]
"""Names and values; a name comes again for each package."""


def of_report(report: Report) -> Facts:
    """Return what is known about the run."""
    host = report.host
    return _known(
        ("postroj", report.version),
        ("date", report.date),
        ("host.distribution", host.distribution if host else ""),
        ("host.kernel", host.kernel if host else ""),
        ("host.architecture", host.architecture if host else ""),
        ("host.user", ("root" if host.is_root else "not root") if host else ""),
    )


def of_probe(probe: ProbeResult) -> Facts:
    """Return what is known about the image and the packages."""
    return _known(
        ("date", probe.date),
        ("image.architecture", probe.architecture),
        ("image.digest", _digest(probe.image_digest)),
        *(fact for package in probe.packages for fact in _of_package(package)),
    )


def _of_package(package: Package) -> Iterator[tuple[str, str]]:
    yield "package.file", package.file
    yield "package.name", package.name
    yield "package.version", package.version
    yield "package.architecture", package.architecture
    yield "package.digest", _digest(package.sha256)


def _digest(sha256: str) -> str:
    return f"sha256:{sha256}" if sha256 else ""


def _known(*facts: tuple[str, str]) -> Facts:
    return tuple((name, visible(value)) for name, value in facts if value)


def versions(packages: Iterable[Package]) -> str:
    """Describe packages, as `redis 7.0-1 (amd64)`; those without a name by their file."""
    return visible(", ".join(_version(package) for package in packages))


def _version(package: Package) -> str:
    if not package.name:
        return package.file
    architecture = f" ({package.architecture})" if package.architecture else ""
    return f"{package.name} {package.version}{architecture}"


def sentence(report: Report) -> str:
    """Describe the run in one line; '' if nothing is known."""
    known, host = dict(of_report(report)), report.host
    parts = [
        f"postroj {known['postroj']}" if "postroj" in known else "",
        known.get("date", ""),
        known.get("host.distribution", ""),
        f"kernel {known['host.kernel']}" if "host.kernel" in known else "",
        known.get("host.architecture", ""),
        "" if host is None else "as root" if host.is_root else "not as root",
    ]
    return ", ".join(filter(None, parts))
