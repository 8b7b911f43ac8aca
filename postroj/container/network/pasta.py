"""The command lines that give a guest a private network through pasta.

A private network is a network namespace with outbound access and nothing else. The host's loopback
is out of reach, and ports of guests and host never collide.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from postroj.container.network import resolvconf

if TYPE_CHECKING:
    from collections.abc import Sequence

    from postroj.container.network.publish import Published

ATTENDED = ("--foreground", "--pid", "/proc/self/fd/1")
"""Keep pasta a child of the process that starts it, and print its PID when the network is up."""


def pasta_argv(
    resolv_conf: str, published: Sequence[Published] = (), shown: Sequence[int] = ()
) -> list[str]:
    """Return pasta without the namespace; it serves in the background unless it is `ATTENDED`.

    `resolv_conf` is the guest's text; the guest sees the ports `shown` of the host's loopback.
    """
    return [
        *("pasta", "--quiet", "--config-net", "--no-map-gw"),
        # else it becomes nobody, who may not enter a namespace that root has made
        *("--runas", "0"),
        *port_options(published),
        *("--tcp-ns", ",".join(map(str, shown)) or "none", "--udp-ns", "none"),
        *name_options(resolv_conf),
    ]


def port_options(published: Sequence[Published]) -> list[str]:
    """Return the options that publish ports on the host, and close all others there."""
    closed = {"--tcp-ports", "--udp-ports"} - {one.options[0] for one in published}
    return [
        *(word for option in sorted(closed) for word in (option, "none")),
        *(word for one in published for word in one.options),
    ]


def name_options(resolv_conf: str) -> list[str]:
    """Return the options for a guest with this resolv.conf that asks a forwarder, if it does.

    With them pasta of Debian 12 answers from the forwarder's address, also if the guest has asked
    the server itself.
    """
    forwarder = resolvconf.forwarder_in(resolv_conf)
    return ["--dns-forward", forwarder] if forwarder else []
