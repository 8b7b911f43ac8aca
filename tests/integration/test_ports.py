"""Questions to ports of a guest, asked from the host."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from postroj.probe.ask import ports
from postroj.probe.ask.deadline import CalledOff, Deadline
from postroj.probe.ask.ports import HttpCriteria
from postroj.verdict import Outcome

if TYPE_CHECKING:
    from postroj.container.start import StartedGuest

TCP = """
use strict; use IO::Socket::IP;
my $server = IO::Socket::IP->new(LocalHost => '%s', LocalPort => %d, Listen => 5) or die $!;
while (my $client = $server->accept) {
    my $path = '';
    while (my $line = <$client>) {
        $path = $1 if $line =~ /^GET (\\S+)/;
        last if $line =~ /^\\r?\\n$/;
    }
    my ($status, $body) = $path eq '/moved' ? ('302 Found', '') :
        $path eq '/broken' ? ('500 Sorry', 'it broke') : ('200 OK', "you asked for $path");
    print $client "HTTP/1.0 $status\\r\\nLocation: http://mirror.example/\\r\\n\\r\\n$body";
    close $client;
}
"""
UDP = """
use strict; use IO::Socket::IP;
my $server = IO::Socket::IP->new(LocalHost => '127.0.0.1', LocalPort => %d, Proto => 'udp') or die;
while (1) { $server->recv(my $data, 1024); %s }
"""


@pytest.fixture(scope="module", autouse=True)
def servers(guest: StartedGuest) -> None:
    """Start what answers: two addresses, a late one, two kinds of UDP."""
    programs = {
        "web": TCP % ("127.0.0.1", 8001),
        "six": TCP % ("::1", 8006),
        "late": "sleep 2; " + TCP % ("127.0.0.1", 8002),
        "echo": UDP % (8003, "$server->send('here');"),
        "mute": UDP % (8004, ""),
    }
    for name, program in programs.items():
        guest.run(["systemd-run", "--quiet", f"--unit={name}", "perl", "-e", program])


def ask(
    guest: StartedGuest,
    url: str,
    timeout: float = 2,
    status: int | None = None,
    body: str | None = None,
) -> tuple[Outcome, str]:
    expected = HttpCriteria(status=status, body=body)
    return ports.check(guest, ports.endpoint(url), expected, deadline=Deadline(timeout))


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("tcp://127.0.0.1:8001", "connected"),
        ("tcp://localhost:8001", "connected"),
        ("tcp://[::1]:8006", "connected"),
        ("udp://127.0.0.1:8003", "answered with 4 bytes"),
        ("udp://127.0.0.1:8004", "bound"),
        ("http://127.0.0.1:8001/", "status 200"),
        ("http://127.0.0.1:8001/moved", "status 302"),
    ],
)
def test_check_network_passes_what_answers(guest: StartedGuest, url: str, reason: str) -> None:
    outcome, said = ask(guest, url, timeout=10)
    assert (outcome, reason in said) == (Outcome.PASS, True), said


def test_check_network_passes_a_port_that_opens_before_the_deadline(guest: StartedGuest) -> None:
    assert ask(guest, "tcp://127.0.0.1:8002", timeout=20)[0] is Outcome.PASS


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("tcp://127.0.0.1:8099", "connection refused"),
        ("tcp://127.0.0.1:8006", "connection refused"),  # it listens on ::1 only
        ("udp://127.0.0.1:8099", "connection refused"),
        ("http://127.0.0.1:8001/broken", "status 500 instead of one below 400"),
        ("http://127.0.0.1:8003/", "connection refused"),
        ("https://127.0.0.1:8001/", "ssl"),
    ],
)
def test_check_network_fails_what_does_not_answer_and_says_what_listens(
    guest: StartedGuest, url: str, reason: str
) -> None:
    outcome, said = ask(guest, url)
    assert (outcome, reason in said.lower()) == (Outcome.FAIL, True), said
    assert ("[::1]:8006" if not url.startswith("udp") else "127.0.0.1:8003") in said


def test_check_network_compares_status_and_body(guest: StartedGuest) -> None:
    page = "http://127.0.0.1:8001/page?x=1"
    assert ask(guest, page, status=200, body="/page?x=1")[0] is Outcome.PASS
    assert "'nothing' is not in the body" in ask(guest, page, body="nothing")[1]
    assert "status 200 instead of 404" in ask(guest, page, status=404)[1]
    assert ask(guest, "http://127.0.0.1:8001/broken", status=500)[0] is Outcome.PASS


def test_check_network_ends_at_once_when_called_off(guest: StartedGuest) -> None:
    over = threading.Event()
    threading.Timer(0.3, over.set).start()
    with pytest.raises(CalledOff):
        ports.check(
            guest,
            ports.endpoint("tcp://127.0.0.1:8099"),
            HttpCriteria(),
            deadline=Deadline(60, over),
        )
