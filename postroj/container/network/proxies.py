"""The proxies of a guest: variables for its package manager, and ports of the host's loopback."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from postroj.container.network.resolvconf import is_own
from postroj.errors import UsageError
from postroj.model import NetworkMode
from postroj.urls import is_web, redacted

if TYPE_CHECKING:
    from collections.abc import Mapping

FROM_HOST = "host"
URLS = ("http_proxy", "https_proxy")
EXCEPTIONS = "no_proxy"
ITSELF = "localhost,127.0.0.1,::1"
LOOPBACK = ("127.0.0.1", "::1")
"""Addresses at which pasta can show ports of the host's loopback to a guest."""
LOCALHOST = "localhost"


def read(text: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the proxy variables for a URL, or for `host`, which takes those of `environ`.

    :raises UsageError: if there is no proxy, or its URL cannot be used.
    """
    found = dict.fromkeys(URLS, text)
    if text == FROM_HOST:
        names = (*URLS, EXCEPTIONS)
        both = {name: environ.get(name) or environ.get(name.upper()) for name in names}
        found = {name: value for name, value in both.items() if value}
        if not found.keys() & URLS:
            message = "`--proxy host` takes the proxy of the environment, but that has none"
            hint = "`sudo` clears it: `sudo --preserve-env=http_proxy,https_proxy,no_proxy`"
            raise UsageError(message, hint=hint)
    for name in found.keys() & URLS:
        if not is_web(found[name]):
            message = f"'{redacted(found[name])}' is not the URL of a proxy"
            raise UsageError(message, hint="`--proxy http://HOST:PORT`, or `--proxy host`")
        found[name] = _numeric(found[name])
    return {EXCEPTIONS: ITSELF, **found}


def _numeric(url: str) -> str:
    """Replace `localhost` by an address, since pasta shows only one of its two to the guest."""
    parts = urlsplit(url)
    if parts.hostname != LOCALHOST:
        return url
    user, at, end = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{user}{at}{LOOPBACK[0]}{end[len(LOCALHOST) :]}").geturl()


def ports_of_loopback(variables: Mapping[str, str]) -> tuple[int, ...]:
    """Return the ports of the proxies on the host's loopback."""
    ends = (_end(variables[name]) for name in URLS if name in variables)
    return tuple(sorted({port for host, port in ends if host in LOOPBACK}))


def require_reachable(variables: Mapping[str, str], mode: NetworkMode) -> None:
    """Refuse a proxy that a guest with this kind of network cannot reach.

    :raises UsageError: if there is one; the message has its URL.
    """
    if variables and mode is NetworkMode.NONE:
        message = "`--proxy` has no effect with `--network=none`"
        raise UsageError(message, hint="leave one of them out")
    for name in URLS if mode is NetworkMode.PRIVATE else ():
        url = variables.get(name)
        if url and _is_beside(_end(url)[0]):
            message = (
                f"the proxy '{redacted(url)}' listens on an address that the guest has as well"
            )
            hint = "let it listen on 127.0.0.1, whose port the guest gets; or use `--network=host`"
            raise UsageError(message, hint=hint)


def _end(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def _is_beside(host: str) -> bool:
    """Whether a host name means this host by an address that pasta cannot show to the guest."""
    if host in LOOPBACK:
        return False
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:  # the guest gets the same error
        return False
    return all(is_own(str(address[4][0])) for address in found)
