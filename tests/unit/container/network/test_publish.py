"""Ports of a guest that the host has too: what is understood, what is refused."""

from __future__ import annotations

import socket

import pytest

from postroj.container.network import publish
from postroj.errors import HostError, UsageError
from postroj.model import NetworkMode

PRIVATE = NetworkMode.PRIVATE


def spelled(text: str) -> tuple[str, str]:
    (one,) = publish.read([text], PRIVATE)
    return one.options


@pytest.mark.parametrize(
    ("text", "option", "spec"),
    [
        ("8080:80", "--tcp-ports", "127.0.0.1/8080-8080:80-80"),
        ("8080:80/tcp", "--tcp-ports", "127.0.0.1/8080-8080:80-80"),
        ("53:53/udp", "--udp-ports", "127.0.0.1/53-53:53-53"),
        ("127.0.0.2:1:65535", "--tcp-ports", "127.0.0.2/1-1:65535-65535"),
        ("0.0.0.0:8080:80", "--tcp-ports", "0.0.0.0/8080-8080:80-80"),
        ("[::]:8080:80", "--tcp-ports", "::/8080-8080:80-80"),
        ("[2001:DB8:0::1]:8080:80", "--tcp-ports", "2001:db8::1/8080-8080:80-80"),
        ("7000-7009:9000-9009", "--tcp-ports", "127.0.0.1/7000-7009:9000-9009"),
    ],
)
def test_read_all_forms(text: str, option: str, spec: str) -> None:
    assert spelled(text) == (option, spec)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is not of the form"),
        ("80", "is not of the form"),
        ("80:", "is not of the form"),
        ("http:80", "is not of the form"),
        ("8080:80/sctp", "is not of the form"),
        ("::1:8080:80", "is not of the form"),
        ("8080:80\n", "is not of the form"),
        ("٣:80", "is not of the form"),
        ("0:80", "not between 1 and 65535"),
        ("8080:65536", "not between 1 and 65535"),
        ("8080:0", "not between 1 and 65535"),
        ("9-8:80", "not between 1 and 65535"),
        ("8000-8001:80", "has 2 ports of the host and 1 of the guest"),
        ("localhost:8080:80", "names 'localhost', which is not an address"),
        (":8080:80", "names '', which is not an address"),
        ("[]:8080:80", r"names '\[\]', which is not an address"),
        ("256.0.0.1:8080:80", "not an address"),
        ("5353:53/udp", "has another number on the host"),
    ],
)
def test_read_refuses_other_forms(text: str, why: str) -> None:
    with pytest.raises(UsageError, match=why) as caught:
        publish.read([text], PRIVATE)
    assert f"`--publish {text}`" in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("mode", [NetworkMode.HOST, NetworkMode.NONE])
def test_read_refuses_other_networks(mode: NetworkMode) -> None:
    assert publish.read([], mode) == ()
    with pytest.raises(UsageError, match=f"not `--network={mode}`"):
        publish.read(["8080:80"], mode)


def test_read_refuses_a_host_port_that_is_named_twice() -> None:
    with pytest.raises(UsageError, match="port 8080/tcp of the host twice"):
        publish.read(["8079-8081:79-81", "[::1]:8080:80"], PRIVATE)
    assert len(publish.read(["53:53/tcp", "53:53/udp"], PRIVATE)) == 2


def occupied(kind: socket.SocketKind) -> tuple[socket.socket, int]:
    taken = socket.socket(socket.AF_INET, kind)
    taken.bind(("127.0.0.1", 0))
    if kind is socket.SOCK_STREAM:
        taken.listen()
    return taken, taken.getsockname()[1]


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_require_free_names_a_port_in_use(kind: socket.SocketKind) -> None:
    protocol = "tcp" if kind is socket.SOCK_STREAM else "udp"
    taken, port = occupied(kind)
    published = publish.read([f"{port}:{port}/{protocol}"], PRIVATE)
    with taken, pytest.raises(HostError, match=f"{port}/{protocol} .* in use on this host"):
        publish.require_free(published)
    publish.require_free(published)
    publish.require_free(published)  # asking has not taken it


def test_require_free_refuses_an_address_that_the_host_lacks() -> None:
    published = publish.read(["192.0.2.250:8080:80"], PRIVATE)
    with pytest.raises(HostError, match="this host has no such address"):
        publish.require_free(published)
