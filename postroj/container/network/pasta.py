"""A guest's network: pasta's command line, its resolv.conf, and sockets opened inside of it.

Private means: a network namespace of its own with outbound access through pasta, nothing else.
The host's loopback is out of reach, and ports of guests and host never collide.
"""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from postroj.errors import GuestError
from postroj.model import NetworkMode

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from postroj.container.network.publish import Published

T = TypeVar("T")

FORWARDER = "169.254.1.1"
"""Where the guest asks for names when the host's resolver can be asked on the host only."""
FORWARDER_6 = "fd70:6f73:7472:6f6a::53"
"""The same where that resolver has an address of IPv6 only: pasta keeps the families apart."""

RESOLV_CONF = Path("/etc/resolv.conf")
UPLINK = Path("/run/systemd/resolve/resolv.conf")
"""Where systemd-resolved writes the servers behind its stub, systemd-resolved.service(8)."""

CLONE_NEWNET = 0x40000000

OWN_NETWORK = """
netns=$1 leader=$2
shift 2
if [ -e "$netns" ]; then umount --lazy "$netns"; rm "$netns"; fi
: > "$netns"
mount --bind "/proc/$leader/ns/net" "$netns"
number() { stat --dereference --format=%i "$netns"; }
own=$(number)
serve() { (exec "$@" --netns "$netns" 2>&3) || :; [ "$(number)" != "$own" ] || kill -USR2 1; }
{ serve "$@" 3>&2 2>/dev/null & } | read -r _  # where sh would say that it was killed, nobody reads
"""
"""Gives the network namespace of a leader a name, and a pasta; the one before a restart ends.

pasta has not the right to open it in `/proc` before the leader has started its program. One that
ends while its namespace has that name ends the launch script, which is number 1.
"""

ATTENDED = ("--foreground", "--pid", "/proc/self/fd/1")
"""Has pasta stay a child of who starts it, and say its number when the network is up."""


def pasta_argv(
    resolv_conf: str, published: Sequence[Published] = (), shown: Sequence[int] = ()
) -> list[str]:
    """pasta, which returns when it has set the namespace up and serves it in the background.

    `resolv_conf` is the guest's, `shown` are ports of the host's loopback that the guest's has too.
    """
    # Not otherwise: in Debian 12's pasta the answers of the host's server then come from
    # FORWARDER, also to those who asked the server itself.
    forwarder = next((name for name in (FORWARDER, FORWARDER_6) if name in resolv_conf), None)
    # no other port of the guest on the host, no other port of the host's loopback in the guest
    closed = {"--tcp-ports", "--udp-ports"} - {one.options[0] for one in published}
    return [
        *("pasta", "--quiet", "--config-net", "--no-map-gw"),
        # it would become nobody, who may not enter a namespace that root has made
        *("--runas", "0"),
        *(word for option in sorted(closed) for word in (option, "none")),
        *(word for one in published for word in one.options),
        *("--tcp-ns", ",".join(map(str, shown)) or "none", "--udp-ns", "none"),
        *(("--dns-forward", forwarder) if forwarder else ()),
    ]


def guest_resolv_conf(mode: NetworkMode) -> str:
    """What `/etc/resolv.conf` says in a guest of this host."""
    texts = [path.read_text() for path in (RESOLV_CONF, UPLINK) if path.is_file()]
    return resolv_conf(mode, texts, {server for server in _servers(texts) if is_own(server)})


def resolv_conf(mode: NetworkMode, texts: list[str], own: Collection[str] = ()) -> str:
    """The guest's resolv.conf out of the host's files, the one to prefer first.

    A guest on the host's network resolves as the host does. In a private network loopback
    addresses and the host's `own` mean the guest, so only other servers are taken over; with none
    left pasta forwards to the first one of `/etc/resolv.conf`.
    """
    if mode is NetworkMode.NONE:
        return "# this guest has no network\n"
    if mode is NetworkMode.HOST:
        return texts[0] if texts else ""
    lines = [line.split() for text in texts for line in text.splitlines()]
    servers = _servers(texts)
    reachable = [server for server in servers if server not in own and not _is_local(server)]
    kept = (["search"], ["domain"], ["options"])
    rest = [" ".join(words) for words in lines if words[:1] in kept]
    needs_6 = servers and all(":" in server for server in _servers(texts[:1]))
    servers = reachable or [FORWARDER_6 if needs_6 else FORWARDER]
    return "".join(
        f"{line}\n"
        for line in (*(f"nameserver {server}" for server in servers[:3]), *dict.fromkeys(rest))
    )


def _servers(texts: list[str]) -> list[str]:
    """Addresses of name servers in files like resolv.conf(5), each once."""
    lines = [line.split() for text in texts for line in text.splitlines()]
    servers = [words[1] for words in lines if words[:1] == ["nameserver"] and len(words) > 1]
    return list(dict.fromkeys(servers))


def is_own(address: str) -> bool:
    """Whether this host has an address, which a guest with a network of its own has then, too."""
    try:
        # a name is never looked up here; text would be taken for one of other letters, first
        number = address.encode()
        found = socket.getaddrinfo(number, 0, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST)
        family, kind, _, _, end = found[0]
        with socket.socket(family, kind) as tried:
            tried.bind(end)
    except OSError:
        return False
    return True


def _is_local(server: str) -> bool:
    """Whether an address means something on the host alone: loopback, or link-local."""
    import ipaddress

    try:
        address = ipaddress.ip_address(server)
    except ValueError:
        return True
    return address.is_loopback or address.is_link_local


def inside(namespace: int, function: Callable[[], T]) -> T:
    """Call `function` in a network namespace, so that the sockets which it opens are the guest's.

    `namespace` is a descriptor of it.

    A namespace belongs to a thread: this one ends with the call, and no other ever enters.

    :raises GuestError: if there is no such namespace any more.
    """
    from concurrent.futures import Future

    future: Future[T] = Future()

    def enter_and_call() -> None:
        try:
            _enter(namespace)
            future.set_result(function())
        except BaseException as error:  # it is raised again, in the caller's thread
            future.set_exception(error)

    threading.Thread(target=enter_and_call, name="netns", daemon=True).start()
    return future.result()


def _enter(namespace: int) -> None:
    import ctypes  # os.setns came with Python 3.12

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace, CLONE_NEWNET) != 0:
        message = "the guest's network cannot be entered: has the guest ended?"
        raise GuestError(message, evidence=os.strerror(ctypes.get_errno()))
