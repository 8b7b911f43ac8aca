"""A host of our own making: a network namespace with a neighbour and nobody else.

Sockets of both are opened by `inside`.
"""

from __future__ import annotations

import os
import subprocess
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from postroj.container.network import netns
from tests.support.cli import POSTROJ

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

T = TypeVar("T")

HOST, NEIGHBOUR = "198.51.100.2", "198.51.100.1"
HOST_6, NEIGHBOUR_6 = "2001:db8:77::2", "2001:db8:77::1"

WIRE = f"""
set -e
ip link set lo up
ip link add wire type veth peer name wire netns "$1"
ip address add {HOST}/24 dev wire
ip address add {HOST_6}/64 dev wire nodad
ip link set wire up
nsenter --target "$1" --net sh -ec '
    ip link set lo up
    ip address add {NEIGHBOUR}/24 dev wire
    ip address add {NEIGHBOUR_6}/64 dev wire nodad
    ip link set wire up'
ip route add default via {NEIGHBOUR}
ip -6 route add default via {NEIGHBOUR_6}
"""


@dataclass(frozen=True, kw_only=True)
class Wire:
    """Processes in whose network namespaces the two are."""

    host: int
    neighbour: int

    def postroj(
        self, *argv: object, resolv_conf: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run postroj on that host, which may have another resolv.conf."""
        done = self.start(*argv, resolv_conf=resolv_conf, stderr=subprocess.PIPE)
        with done:
            out, err = done.communicate(timeout=120)
        return subprocess.CompletedProcess(done.args, done.returncode, out, err)

    def start(
        self, *argv: object, resolv_conf: Path | None = None, **options: Any
    ) -> subprocess.Popen[str]:
        """Start postroj there."""
        own = 'mount --bind "$1" /etc/resolv.conf; shift; exec "$@"' if resolv_conf else 'exec "$@"'
        words = [str(resolv_conf)] if resolv_conf else []
        enter = ["nsenter", f"--net=/proc/{self.host}/ns/net", "unshare", "--mount"]
        command = [*enter, "sh", "-ec", own, "sh", *words, *POSTROJ, *map(str, argv)]
        options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE} | options
        return subprocess.Popen(command, text=True, **options)


@contextmanager
def wired() -> Iterator[Wire]:
    """Have both, until they are not needed any more."""
    with ExitStack() as stack:
        pids = []
        for _ in range(2):
            argv = ["unshare", "--net", "sh", "-c", "echo; exec sleep 3600"]
            holder = stack.enter_context(subprocess.Popen(argv, stdout=subprocess.PIPE))
            stack.callback(holder.kill)
            assert holder.stdout
            holder.stdout.readline()
            pids.append(holder.pid)
        host, neighbour = pids
        enter = ["nsenter", "--target", str(host), "--net"]
        subprocess.run([*enter, "sh", "-c", WIRE, "sh", str(neighbour)], check=True)
        yield Wire(host=host, neighbour=neighbour)


def inside(pid: int, function: Callable[[], T]) -> T:
    """Call a function in the network namespace of a process."""
    namespace = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return netns.inside(namespace, function)
    finally:
        os.close(namespace)
