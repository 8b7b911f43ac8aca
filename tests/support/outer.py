"""A host with a systemd of its own: a guest in which postroj boots guests.

It has all capabilities, the host's loop devices, and postroj itself with the Python packages that
it needs, which all are pure Python; its own Python runs them.
"""

from __future__ import annotations

import sysconfig
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from postroj import paths
from postroj.container import host
from postroj.container.boot import nspawn
from postroj.container.cgroup import devices
from postroj.container.spec import Bind, GuestSpec
from postroj.container.start import StartedGuest, start_guest
from postroj.model import NetworkMode
from postroj.prepare import obtain
from postroj.probe.ask.checks import Manners
from postroj.probe.plan import Plan
from postroj.warm import warmed

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from postroj.process import Completed

REPOSITORY = Path(__file__).parents[2]
PACKAGES = (
    "systemd-container dbus passt squashfs-tools python3-minimal python3 util-linux iproute2 "
    "uidmap squashfuse dbus-user-session libpam-systemd"
)
INSTALL = "apt-get install --yes --no-install-recommends"
SETUP = f"apt-get update && {INSTALL} {PACKAGES}"

# Debian 11 has neither Python 3.11 nor pasta: it gets a Python with the libraries of Debian 12.
NEWER = (
    "libc6 libexpat1 zlib1g libssl3 libffi8 libbz2-1.0 liblzma5 libuuid1 libpython3.11-minimal "
    "libpython3.11-stdlib python3.11-minimal"
)
PYTHON = """#!/bin/sh
export PYTHONHOME=/opt/newer/usr
exec /opt/newer/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2 --library-path \
    /opt/newer/lib/x86_64-linux-gnu:/opt/newer/usr/lib/x86_64-linux-gnu \
    /opt/newer/usr/bin/python3.11 "$@"
"""
OLD_SETUP = f"""
apt-get update
{INSTALL} systemd-container dbus squashfs-tools util-linux iproute2
sed -n '/^deb.* bullseye main/s/bullseye/bookworm/p' /etc/apt/sources.list \
    > /etc/apt/sources.list.d/newer.list
apt-get update
mkdir /opt/newer /tmp/newer
cd /tmp/newer
apt-get -o APT::Sandbox::User=root download {NEWER}
for deb in *.deb; do dpkg-deb --extract "$deb" /opt/newer; done
rm -r /tmp/newer /etc/apt/sources.list.d/newer.list
cat > /usr/local/bin/python3 <<'END'
{PYTHON}END
chmod 755 /usr/local/bin/python3
"""
SETUPS = {"debian-bullseye": OLD_SETUP}
LOOPS = "for n in $(seq 0 63); do [ -e /dev/loop$n ] || mknod -m 660 /dev/loop$n b 7 $n; done"
BEYOND = ("--capability=all", "--bind=/dev/loop-control")
LOOP_DEVICES = ((devices.BLOCK, 7, None), (devices.CHARACTER, 10, 237))
ENVIRONMENT = {"PYTHONPATH": "/opt/postroj:/opt/packages", "PYTHONDONTWRITEBYTECODE": "1"}


@dataclass(frozen=True)
class Outer:
    """A booted host."""

    guest: StartedGuest

    def run(self, *argv: object, ok: Collection[int] = (0,), timeout: float = 60) -> Completed:
        """Run a command on it."""
        return self.guest.run([str(word) for word in argv], ok=ok, timeout=timeout, env=ENVIRONMENT)

    def postroj(self, *argv: object, ok: Collection[int] = (0,), timeout: float = 120) -> Completed:
        """Run postroj on it."""
        return self.run("python3", "-m", "postroj", *argv, ok=ok, timeout=timeout)


@contextmanager
def booted(release: str, *, unified: bool = True) -> Iterator[Outer]:
    """Boot a host of a Debian release, with cgroup v2, or else v1."""
    plan = Plan(
        questions=(),
        manners=Manners(timeout=5, settle=0),
        network=NetworkMode.PRIVATE,
        timeout=300,
        boot_timeout=60,
        setup=(SETUPS.get(release, SETUP),),
    )
    shown = {
        REPOSITORY: "/opt/postroj",
        Path(sysconfig.get_path("purelib")): "/opt/packages",
        paths.cache_dir(): "/var/cache/postroj",
    }
    binds = [Bind(source=path, target=target, read_only=True) for path, target in shown.items()]
    hierarchy = {"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1" if unified else "0"}
    with ExitStack() as stack:
        image = warmed(stack.enter_context(obtain(release)), [], plan, stack)
        stack.enter_context(patch.object(nspawn, "nspawn_argv", _beyond(nspawn.nspawn_argv)))
        more = (*devices.USUAL, *LOOP_DEVICES)
        stack.enter_context(patch.object(devices, "USUAL", more))
        environment = host.environment(host.read(), None, own_network=True) | hierarchy
        stack.enter_context(patch.object(host, "environment", lambda *_, **__: environment))
        guest = stack.enter_context(start_guest(GuestSpec(layers=image.layers, binds=tuple(binds))))
        guest.run(["sh", "-c", LOOPS], timeout=10)
        yield Outer(guest)


def _beyond(argv: Callable[..., list[str]]) -> Callable[..., list[str]]:
    """Have nspawn let its guest do what a host does."""

    def more(*words: Any, **settings: Any) -> list[str]:
        tool, *rest = argv(*words, **settings)
        return [tool, *BEYOND, *rest]

    return more
