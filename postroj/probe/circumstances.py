"""When and where a probe takes place, for its report."""

from __future__ import annotations

import platform
from datetime import UTC, datetime

from postroj import user
from postroj.image import architectures
from postroj.verdict import Host


def now() -> str:
    """Return the time as ISO 8601 in UTC: `2026-01-31T12:00:00Z`."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def this_host() -> Host:
    """Describe this host; reports are passed on, so nothing in it names the host or its user."""
    try:
        distribution = platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        distribution = ""
    return Host(
        kernel=platform.release(),
        architecture=architectures.of_this_host(),
        distribution=distribution,
        is_root=user.is_root(),
    )
