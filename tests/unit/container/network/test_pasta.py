"""pasta's command lines."""

from __future__ import annotations

from postroj.container.network import pasta, publish, resolvconf
from postroj.model import NetworkMode

UPLINK = "nameserver 192.0.2.1\n"
PASTA = ["pasta", "--quiet", "--config-net", "--no-map-gw", "--runas", "0"]
CLOSED = ["--tcp-ports", "none", "--udp-ports", "none"]
APART = ["--tcp-ns", "none", "--udp-ns", "none"]


def test_pasta_forwards_names_only_if_the_guest_asks_it() -> None:
    assert pasta.pasta_argv(UPLINK) == [*PASTA, *CLOSED, *APART]
    for forwarder in (resolvconf.FORWARDER, resolvconf.FORWARDER_6):
        argv = [*PASTA, *CLOSED, *APART, "--dns-forward", forwarder]
        assert pasta.pasta_argv(f"nameserver {forwarder}\n") == argv


def test_pasta_opens_published_and_shown_ports_and_no_others() -> None:
    one, two = publish.read(["8080:80", "[::1]:7000-7009:7100-7109"], NetworkMode.PRIVATE)
    opened = ["--tcp-ports", "127.0.0.1/8080-8080:80-80", "--tcp-ports", "::1/7000-7009:7100-7109"]
    argv = [*PASTA, "--udp-ports", "none", *opened, *APART]
    assert pasta.pasta_argv(UPLINK, [one, two]) == argv
    shown = [*PASTA, *CLOSED, "--tcp-ns", "3128,8118", "--udp-ns", "none"]
    assert pasta.pasta_argv(UPLINK, shown=(3128, 8118)) == shown
