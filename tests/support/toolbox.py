"""Images with the tools of other distributions: dnf, zypper and pacman in a real Debian guest."""

from __future__ import annotations

import shutil
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from postroj.model import NetworkMode
from postroj.prepare import obtain
from postroj.probe.ask.checks import Manners
from postroj.probe.plan import Plan
from postroj.warm import warmed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from postroj.model import Image

TOOLS = ("rpm", "dnf", "zypper", "pacman-package-manager", "libarchive-tools")

PLAN = Plan(
    questions=(),
    manners=Manners(timeout=5, settle=0),
    network=NetworkMode.PRIVATE,
    timeout=500,
    boot_timeout=60,
)

SET_UP = r"""
export DEBIAN_FRONTEND=noninteractive
apt-get -qq update
apt-get -qq --yes --no-install-recommends -o Dpkg::Options::=--force-unsafe-io install {tools} \
    >/dev/null
# Debian's rpm keeps the database of a user; and no package of a Debian guest is in any.
mkdir -p /etc/rpm /var/lib/rpm /etc/dnf/vars /etc/yum.repos.d /etc/zypp/repos.d /var/lib/pacman
echo '%_dbpath /var/lib/rpm' > /etc/rpm/macros
rpm --initdb
echo 1 > /etc/dnf/vars/releasever
rm -r /var/lib/apt/lists/*
apt-get clean
"""


@contextmanager
def layers_of(image: Image, *others: tuple[str, ...]) -> Iterator[tuple[Path, ...]]:
    """Yield the layers of an image with the tools, and with one layer for each set of others."""
    with ExitStack() as stack:
        yield set_up(image, stack, *map(script_for, (TOOLS, *others)))


def set_up(image: Image, stack: ExitStack, *scripts: str) -> tuple[Path, ...]:
    """Return the layers of an image with one layer for each script, in use until `stack` unwinds.

    They are set-up layers of the system's cache, so that a second run finds them there.
    """
    image = replace(image, manager=None)  # without package lists on top
    for script in scripts:
        image = warmed(image, [], replace(PLAN, setup=(script,)), stack)
    return image.layers


def script_for(tools: tuple[str, ...]) -> str:
    """Return the script that installs tools."""
    return SET_UP.format(tools=" ".join(tools))


def stack(name: str, target: Path, tools: tuple[str, ...] = TOOLS) -> tuple[Path, ...]:
    """Return the layers of an image with tools on top, in a file that stays."""
    with obtain(name) as image, ExitStack() as held:
        if not target.exists():
            shutil.copyfile(set_up(image, held, script_for(tools))[-1], target)
        return (*image.layers, target)
