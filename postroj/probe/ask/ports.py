"""Check that a port of the guest answers, from the host but inside the guest's network.

So the guest needs no curl, no ss and no netcat. Each check is repeated until it passes or its
deadline passes.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import struct
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit, urlunsplit

from postroj import __version__
from postroj.errors import UsageError
from postroj.verdict import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from postroj.container.guest import Guest, Socket
    from postroj.probe.ask.deadline import Deadline

INTERVAL = 0.1
ATTEMPT = 5.0
"""Seconds for one attempt."""

SCHEMES = {"tcp": None, "udp": None, "http": 80, "https": 443}
"""Schemes of `--check-network`, with their default ports."""

CLOSING = 0.03
"""Seconds for a server that closes a connection as soon as it has accepted it."""
BODY_LIMIT = 1 << 20

SHOWN = 20
"""Maximum number of sockets to name."""

PRINTED = "/?&=%:@+,;~!$'()*"
"""Characters of a path and a query that are not escaped."""


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """The address of a network check, and how to ask it."""

    url: str
    scheme: str
    host: str
    port: int
    path: str

    @property
    def address(self) -> str:
        """In the form that `Guest.connect` takes."""
        return f"[{self.host}]:{self.port}"


def endpoint(url: str) -> Endpoint:
    """Parse `tcp://host:port`, `udp://host:port`, `http(s)://host[:port]/path`.

    :raises UsageError: if the URL has none of these forms.
    """
    try:
        parts = urlsplit(url)
        port = SCHEMES.get(parts.scheme) if parts.port is None else parts.port
        host = (parts.hostname or "").encode("idna").decode()
    except ValueError:
        parts, port, host = urlsplit(""), None, ""
    if parts.scheme in SCHEMES and host and port:
        path = quote(urlunsplit(("", "", parts.path or "/", parts.query, "")), safe=PRINTED)
        return Endpoint(url=url, scheme=parts.scheme, host=host, port=port, path=path)
    message = f"'{url}' is not an address to check"
    raise UsageError(message, hint="tcp://host:port, udp://host:port or http(s)://host[:port]/path")


@dataclass(frozen=True, kw_only=True)
class HttpCriteria:
    """What an HTTP answer must be like."""

    status: int | None = None
    """The required status; None accepts any below 400."""
    body: str | None = None
    """Text that the body must contain."""


class NoAnswer(Exception):
    """The HTTP answer does not meet the criteria."""


def check(
    guest: Guest, where: Endpoint, expected: HttpCriteria, *, deadline: Deadline
) -> tuple[Outcome, str]:
    """Ask until the endpoint answers or the deadline passes; return outcome and reason."""
    while True:
        attempt = min(ATTEMPT, max(0.5, deadline.left))
        try:
            answer = _ask(guest, where, expected, attempt)
            return Outcome.PASS, f"{answer} after {deadline.spent:.1f} s"
        except (OSError, http.client.HTTPException, NoAnswer) as error:
            problem = describe_error(error)
        if not deadline.wait(INTERVAL):
            break
    sentence = f"{problem} for {deadline.seconds:g} s"
    return Outcome.FAIL, f"{sentence}\n{_other_listeners(guest, where)}"


def _ask(guest: Guest, where: Endpoint, expected: HttpCriteria, timeout: float) -> str:
    match where.scheme:
        case "tcp":
            with guest.connect(where.address, "stream", timeout) as connection:
                forget(connection)
                return "connected"
        case "udp":
            return _ask_udp(guest, where, timeout)
        case _:
            return _ask_http(guest, where, expected, timeout)


def forget(connection: socket.socket) -> None:
    """Have both sides forget a TCP connection that the server has closed first.

    The server's side would wait for a minute (TIME_WAIT), in which a daemon that restarts and does
    not set SO_REUSEADDR cannot open its port again, socket(7).
    """
    connection.settimeout(CLOSING)
    with suppress(OSError):  # nothing has come, or the connection is gone
        if not connection.recv(1, socket.MSG_PEEK):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _ask_udp(guest: Guest, where: Endpoint, timeout: float) -> str:
    """Send an empty datagram; an answer passes, and so does silence if a socket is bound there."""
    with guest.connect(where.address, "dgram", min(0.3, timeout)) as datagrams:
        datagrams.send(b"")
        try:
            return f"answered with {len(datagrams.recv(65536))} bytes"
        except TimeoutError:
            if _is_bound(guest, str(datagrams.getpeername()[0]), where.port):
                return "bound"
            message = "no answer"
            raise TimeoutError(message) from None


def status_of(guest: Guest, where: Endpoint, timeout: float) -> int | None:
    """Return the status of a page; None if no server of HTTP answers."""
    try:
        return _get(guest, where, timeout)[0]
    except (OSError, http.client.HTTPException):
        return None


def _ask_http(guest: Guest, where: Endpoint, expected: HttpCriteria, timeout: float) -> str:
    """Request a page, and compare it with what is expected."""
    status, body = _get(guest, where, timeout)
    if status != expected.status if expected.status else status >= 400:
        wanted = expected.status or "one below 400"
        message = f"status {status} instead of {wanted}"
        raise NoAnswer(message)
    if expected.body is not None and expected.body not in body:
        message = f"status {status}, but '{expected.body}' is not in the body {body[:80]!r}"
        raise NoAnswer(message)
    return f"status {status}"


def _get(guest: Guest, where: Endpoint, timeout: float) -> tuple[int, str]:
    """Request a page directly: use no proxy, follow no redirect, accept any certificate."""
    connection = (
        http.client.HTTPSConnection(where.host, where.port)
        if where.scheme == "https"
        else http.client.HTTPConnection(where.host, where.port)
    )
    line = guest.connect(where.address, "stream", timeout)
    try:
        connection.sock = line
        if where.scheme == "https":
            context = ssl._create_unverified_context()  # noqa: S323 no public name for it
            line = connection.sock = context.wrap_socket(line, server_hostname=where.host)
        with _hang_up_after(timeout, line):
            connection.request("GET", where.path, headers={"User-Agent": f"postroj/{__version__}"})
            reply = connection.getresponse()
        with reply, _hang_up_after(2 * timeout, line):  # `_read` stops earlier
            return reply.status, _read(reply, timeout).decode(errors="replace")
    finally:
        connection.close()


@contextmanager
def _hang_up_after(seconds: float, line: socket.socket) -> Iterator[None]:
    """Close a connection after so many seconds: a socket's own timeout restarts with each byte.

    :raises TimeoutError: if the time ran out.
    """
    late = threading.Event()

    def hang_up() -> None:
        late.set()
        with suppress(OSError):  # the peer has closed it already
            # the `shutdown` of an SSL socket breaks its reader
            socket.socket.shutdown(line, socket.SHUT_RDWR)

    timer = threading.Timer(seconds, hang_up)
    timer.daemon = True
    timer.start()
    try:
        yield
    except (OSError, http.client.HTTPException):
        if not late.is_set():
            raise
    finally:
        timer.cancel()
        timer.join()
    if late.is_set():
        message = "timed out"
        raise TimeoutError(message)


def _read(reply: http.client.HTTPResponse, timeout: float) -> bytes:
    """Read a body until its end, `timeout` or `BODY_LIMIT`: some bodies never end."""
    end = time.monotonic() + timeout
    body = b""
    while len(body) < BODY_LIMIT and time.monotonic() < end:
        chunk = reply.read1(65536)
        if not chunk:
            break
        body += chunk
    return body[:BODY_LIMIT]


def describe_error(error: Exception) -> str:
    """Describe why a connection failed."""
    match error:
        case TimeoutError():
            return str(error) or "timed out"
        case OSError(strerror=str(text)):
            return text.lower()
        case http.client.HTTPException():
            return f"no HTTP answer ({type(error).__name__})"
        case _:
            return str(error)


def _other_listeners(guest: Guest, where: Endpoint) -> str:
    """List the listening sockets of the guest as evidence, those on the same port first."""
    kind = "udp" if where.scheme == "udp" else "tcp"
    found = [socket for socket in guest.sockets() if socket.entry.protocol == kind]
    evidence = f"{kind} sockets that listen in the guest: {_list(found) or 'none'}"
    beside = _list([socket for socket in found if socket.entry.port == where.port])
    return f"listening on that port: {beside}\n{evidence}" if beside else evidence


def _list(found: Sequence[Socket]) -> str:
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return ", ".join(map(_describe, found[:SHOWN])) + more


def _describe(socket: Socket) -> str:
    where = f"{socket.entry.address}:{socket.entry.port}"
    return f"{where} ({socket.unit or socket.process})" if socket.process else where


def _is_bound(guest: Guest, host: str, port: int) -> bool:
    return any(
        socket.entry.protocol == "udp"
        and socket.entry.port == port
        and socket.entry.address in (host, "0.0.0.0", "[::]", f"[{host}]")  # noqa: S104
        for socket in guest.sockets()
    )
