"""Images with the tools of other distributions: dnf, zypper and pacman in a real Debian guest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from postroj.container.spec import GuestSpec
from postroj.container.start import start_guest
from postroj.image.unpack import pack
from postroj.locking import exclusive
from postroj.prepare import obtain

if TYPE_CHECKING:
    from pathlib import Path

    from postroj.model import Image

TOOLS = ("rpm", "dnf", "zypper", "pacman-package-manager", "libarchive-tools")

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
apt-get clean
"""


def layer_of(image: Image, target: Path, tools: tuple[str, ...] = TOOLS) -> Path:
    """Make the layer `target` that brings tools to an image, unless somebody did."""
    with exclusive(target.with_suffix(".lock")):
        if not target.exists():
            with start_guest(GuestSpec(layers=image.layers, boot=False)) as guest:
                script = SET_UP.format(tools=" ".join(tools))
                guest.run(["sh", "-ec", script], timeout=500)
                unfinished = target.with_suffix(".new")
                pack.squash_output(guest.layer_argv(), unfinished)
            unfinished.rename(target)
    return target


def stack(name: str, target: Path, tools: tuple[str, ...] = TOOLS) -> tuple[Path, ...]:
    """Return the layers of an image with tools on top."""
    with obtain(name) as image:
        return (*image.layers, layer_of(image, target, tools))
