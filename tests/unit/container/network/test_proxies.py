"""Which proxies are meant, and which a guest can talk to."""

from __future__ import annotations

import pytest

from postroj.container.network import proxies
from postroj.errors import UsageError
from postroj.model import NetworkMode

URL = "http://user:secret@proxy.example:3128"
PRIVATE, HOST, NONE = NetworkMode.PRIVATE, NetworkMode.HOST, NetworkMode.NONE


def test_read_a_url_for_both_protocols() -> None:
    assert proxies.read(URL, {"no_proxy": "other.example"}) == {
        "http_proxy": URL,
        "https_proxy": URL,
        "no_proxy": proxies.ITSELF,
    }


@pytest.mark.parametrize(
    ("url", "meant"),
    [
        ("http://localhost:3128", "http://127.0.0.1:3128"),
        ("http://LocalHost/", "http://127.0.0.1/"),
        ("http://localhost:localhost@localhost:1", "http://localhost:localhost@127.0.0.1:1"),
        ("http://localhost@proxy.example:1", "http://localhost@proxy.example:1"),
        ("http://localhost.example:1", "http://localhost.example:1"),
    ],
)
def test_read_replaces_localhost_by_its_address(url: str, meant: str) -> None:
    assert proxies.read(url, {})["http_proxy"] == meant


def test_read_host_takes_the_environment() -> None:
    environ = {"HTTP_PROXY": URL, "https_proxy": "", "no_proxy": "lan.example", "HOME": "/root"}
    assert proxies.read("host", environ) == {"http_proxy": URL, "no_proxy": "lan.example"}
    environ = {"http_proxy": URL, "HTTP_PROXY": "http://other.example"}
    assert proxies.read("host", environ)["http_proxy"] == URL


def test_read_host_refuses_an_environment_without_proxies() -> None:
    with pytest.raises(UsageError, match="the environment, but that has none") as caught:
        proxies.read("host", {"no_proxy": "lan.example"})
    assert "sudo --preserve-env" in caught.value.hint


@pytest.mark.parametrize("text", ["", "proxy.example:3128", "socks5://p.example", "http://"])
def test_read_refuses_other_texts(text: str) -> None:
    with pytest.raises(UsageError, match="is not the URL of a proxy"):
        proxies.read(text, {})


def test_messages_do_not_show_a_password() -> None:
    for text, environ in (("ftp://u:secret@p", {}), ("host", {"http_proxy": "ftp://u:secret@p"})):
        with pytest.raises(UsageError) as caught:
            proxies.read(text, environ)
        assert "secret" not in caught.value.message


@pytest.mark.parametrize(
    ("url", "ports"),
    [
        ("http://127.0.0.1:3128", (3128,)),
        ("http://[::1]", (80,)),
        ("https://127.0.0.1", (443,)),
        ("http://127.0.0.2:3128", ()),
        (URL, ()),
    ],
)
def test_ports_of_loopback(url: str, ports: tuple[int, ...]) -> None:
    assert proxies.ports_of_loopback({"http_proxy": url, "https_proxy": url}) == ports


def test_ports_of_loopback_without_a_proxy() -> None:
    assert proxies.ports_of_loopback({}) == ()


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://[::1]:1", "http://192.0.2.250"])
def test_require_reachable_accepts(url: str) -> None:
    for mode in (PRIVATE, HOST):
        proxies.require_reachable({"https_proxy": url}, mode)


def test_require_reachable_refuses() -> None:
    with pytest.raises(UsageError, match="an address that the guest has as well") as caught:
        proxies.require_reachable({"https_proxy": "http://u:secret@127.0.0.2:3128"}, PRIVATE)
    assert "secret" not in caught.value.message
    proxies.require_reachable({"https_proxy": "http://127.0.0.2:3128"}, HOST)
    with pytest.raises(UsageError, match="`--network=none`"):
        proxies.require_reachable({"https_proxy": URL}, NONE)
    proxies.require_reachable({}, NONE)
