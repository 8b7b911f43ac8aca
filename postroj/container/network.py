"""A guest's network: pasta's command line, its resolv.conf, and sockets opened inside of it.

Private means: a network namespace of its own with outbound access through pasta, nothing else.
The host's loopback is out of reach, and ports of guests and host never collide.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from postroj.errors import GuestError
from postroj.model import NetworkMode

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

FORWARDER = "169.254.1.1"
"""Where the guest asks for names when the host's resolver listens on the host's loopback only."""

RESOLV_CONF = Path("/etc/resolv.conf")
UPLINK = Path("/run/systemd/resolve/resolv.conf")
"""Where systemd-resolved writes the servers behind its stub, systemd-resolved.service(8)."""

CLONE_NEWNET = 0x40000000


def pasta_argv(resolv_conf: str) -> list[str]:
    """pasta, which returns when it has set the namespace up and serves it in the background.

    `resolv_conf` is the guest's.
    """
    # Not otherwise: in Debian 12's pasta the answers of the host's server then come from
    # FORWARDER, also to those who asked the server itself.
    forward = ("--dns-forward", FORWARDER) if FORWARDER in resolv_conf else ()
    return [
        *("pasta", "--quiet", "--config-net", "--no-map-gw"),
        # it would become nobody, who may not enter a namespace that root has made
        *("--runas", "0"),
        # no port of the guest on the host, no port of the host's loopback in the guest
        *("--tcp-ports", "none", "--udp-ports", "none", "--tcp-ns", "none", "--udp-ns", "none"),
        *forward,
    ]


def guest_resolv_conf(mode: NetworkMode) -> str:
    """What `/etc/resolv.conf` says in a guest of this host."""
    texts = [path.read_text() for path in (RESOLV_CONF, UPLINK) if path.is_file()]
    return resolv_conf(mode, texts)


def resolv_conf(mode: NetworkMode, texts: list[str]) -> str:
    """The guest's resolv.conf out of the host's files, the one to prefer first.

    A guest on the host's network resolves as the host does. In a private network loopback
    addresses mean the guest, so only other servers are taken over; with none left pasta forwards.
    """
    if mode is NetworkMode.NONE:
        return "# this guest has no network\n"
    if mode is NetworkMode.HOST:
        return texts[0] if texts else ""
    lines = [line.split() for text in texts for line in text.splitlines()]
    servers = [words[1] for words in lines if words[:1] == ["nameserver"] and len(words) > 1]
    reachable = [server for server in dict.fromkeys(servers) if not _is_local(server)]
    rest = [" ".join(words) for words in lines if words[:1] in (["search"], ["options"])]
    servers = reachable or [FORWARDER]
    return "".join(
        f"{line}\n"
        for line in (*(f"nameserver {server}" for server in servers[:3]), *dict.fromkeys(rest))
    )


def _is_local(server: str) -> bool:
    """Whether an address means something on the host alone: loopback, or link-local."""
    import ipaddress

    try:
        address = ipaddress.ip_address(server)
    except ValueError:
        return True
    return address.is_loopback or address.is_link_local


def inside(pid: int, function: Callable[[], T]) -> T:
    """Call `function` with the network namespace of `pid`, so that its sockets are the guest's.

    A namespace belongs to a thread: this one ends with the call, and no other ever enters.

    :raises GuestError: if there is no such namespace any more.
    """
    from concurrent.futures import Future

    future: Future[T] = Future()

    def enter_and_call() -> None:
        try:
            _enter(pid)
            future.set_result(function())
        except BaseException as error:  # it is raised again, in the caller's thread
            future.set_exception(error)

    threading.Thread(target=enter_and_call, name=f"netns-{pid}", daemon=True).start()
    return future.result()


def _enter(pid: int) -> None:
    import ctypes  # os.setns came with Python 3.12

    libc = ctypes.CDLL(None, use_errno=True)
    try:
        descriptor = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            if libc.setns(descriptor, CLONE_NEWNET) != 0:
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number))
        finally:
            os.close(descriptor)
    except OSError as error:
        message = "the guest's network cannot be entered: has the guest ended?"
        raise GuestError(message, evidence=str(error)) from None
