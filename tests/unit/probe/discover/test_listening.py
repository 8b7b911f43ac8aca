"""Which sockets of the packages are asked for a connection, and under which names."""

from __future__ import annotations

from postroj.container.guest import Entry, Socket
from postroj.probe.ask.question import Question
from postroj.probe.discover.listening import socket_questions
from postroj.verdict import CheckKind
from tests.unit.probe.discover.test_discover import found, state


def listener(protocol: str, address: str, port: int = 0, unit: str = "x.service") -> Socket:
    entry = Entry(protocol=protocol, address=address, port=port)
    return Socket(entry=entry, process="x", unit=unit)


def test_one_question_for_each_tcp_address_and_for_the_unix_sockets_of_a_unit() -> None:
    new = [
        listener("tcp", "0.0.0.0", 80),
        listener("tcp", "127.0.0.1", 80),
        listener("tcp", "[::]", 80),
        listener("tcp", "[::1]", 81),
        listener("udp", "0.0.0.0", 53),
        listener("tcp", "127.0.0.1", 99, unit=""),
        listener("stream", "/run/x"),
        listener("tcp", "127.0.0.1", 82),
        listener("stream", "/run/y", unit="y.service"),
        listener("seqpacket", "@y", unit="y.service"),
    ]
    asked = socket_questions(
        found(), new, [Question(kind=CheckKind.NETWORK, subject="tcp://[::1]:81")]
    )
    assert [(q.subject, q.holders) for q in asked] == [
        (
            "tcp://127.0.0.1:80",
            "x.service listens on 0.0.0.0:80, x.service listens on 127.0.0.1:80",
        ),
        ("tcp://[::1]:80", "x.service listens on [::]:80"),
        ("tcp://127.0.0.1:99", "process 'x', which is in no unit, listens on 127.0.0.1:99"),
        ("tcp://127.0.0.1:82", "x.service listens on 127.0.0.1:82"),
        ("unix:/run/x", "x.service listens on /run/x"),
        (
            "unix sockets of y.service",
            "y.service listens on /run/y, y.service listens on @y",
        ),
    ]
    assert {q.kind for q in asked} == {CheckKind.NETWORK}
    assert [len(q.unix) for q in asked] == [0, 0, 0, 0, 1, 2]


def test_an_abstract_socket_is_shown_without_its_padding_and_asked_with_it() -> None:
    (asked,) = socket_questions(found(), [listener("stream", "@a@b@@@")], [])
    assert (asked.subject, asked.holders) == ("unix:@a@b", "x.service listens on @a@b")
    assert [socket.entry.address for socket in asked.unix] == ["@a@b@@@"]


def test_the_addresses_of_a_socket_unit_are_not_asked_twice() -> None:
    unit = state("x.socket", active="active", listens=(("/run/x", "Stream"), ("[::]:80", "Stream")))
    new = [listener("stream", "/run/x"), listener("tcp", "[::]", 80)]
    assert socket_questions(found(unit), new, []) == []


def test_an_address_is_a_dependency_s_if_only_units_of_dependencies_listen_there() -> None:
    new = [
        listener("tcp", "127.0.0.1", 80, unit="needed.service"),
        listener("tcp", "127.0.0.1", 81, unit="needed.service"),
        listener("tcp", "127.0.0.1", 81),
        listener("tcp", "127.0.0.1", 82, unit="named.service"),
        listener("tcp", "127.0.0.1", 83, unit=""),
        listener("stream", "/run/needed", unit="needed.service"),
    ]
    asked = [
        Question(kind=CheckKind.UNIT, subject="needed.service", is_found=True, is_dependency=True),
        Question(kind=CheckKind.UNIT, subject="named.service"),
    ]
    theirs = [q.subject for q in socket_questions(found(), new, asked) if q.is_dependency]
    assert theirs == ["tcp://127.0.0.1:80", "unix:/run/needed"]
