"""Find the sockets that came with the packages, and ask whether they accept connections."""

from __future__ import annotations

from typing import TYPE_CHECKING

from postroj.probe.ask import sockets
from postroj.probe.ask.addresses import destination
from postroj.probe.ask.question import Question, holder
from postroj.verdict import CheckKind

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from postroj.container.guest import Guest, Socket
    from postroj.probe.discover.discover import Brought
    from postroj.probe.discover.snapshot import Snapshot


def new_sockets(guest: Guest, brought: Brought, before: Snapshot) -> list[Socket]:
    """Return the new sockets of judged units and of processes that are in no unit."""
    known = {(socket.entry.text, socket.entry.protocol, socket.unit) for socket in before.sockets}
    judged = brought.judged
    activated = _activated(brought)
    return [
        socket
        for socket in sockets.listening(guest)
        if (socket.entry.text, socket.entry.protocol, socket.unit) not in known
        and (
            socket.unit in judged
            or socket.entry.text in activated
            or not (socket.unit or socket.is_of_init)
        )
    ]


def socket_questions(
    brought: Brought, new: Sequence[Socket], asked: Collection[Question]
) -> list[Question]:
    """Make questions whether new sockets accept connections; `asked` are the other questions.

    There is one question for each TCP address, and one for all unix sockets of a unit: some units
    have dozens. UDP sockets are reported but not asked, as no request fits all of them.
    """
    activated = _activated(brought)
    subjects = {question.subject for question in asked}
    theirs = {question.subject for question in asked if question.is_dependency}
    tcp: dict[str, list[Socket]] = {}
    unix: dict[str, list[Socket]] = {}
    for socket in new:
        entry = socket.entry
        if entry.text in activated:
            continue
        if entry.protocol == "tcp":
            tcp.setdefault(_url(socket), []).append(socket)
        elif entry.is_unix:
            unix.setdefault(holder(socket), []).append(socket)

    def network(subject: str, found: Sequence[Socket]) -> Question:
        return Question(
            kind=CheckKind.NETWORK,
            subject=subject,
            is_found=True,
            is_dependency=all(socket.unit in theirs for socket in found),
            listeners=tuple(found),
        )

    return [
        *(network(url, found) for url, found in tcp.items() if url not in subjects),
        *(network(_unix_name(found), found) for found in unix.values()),
    ]


def units_at(*questions: Iterable[Question]) -> set[str]:
    """Return the units that listen at the addresses of questions."""
    asked = (question for some in questions for question in some)
    return {socket.unit for question in asked for socket in question.listeners}


def _activated(brought: Brought) -> set[str]:
    """Return the addresses of judged socket units: the checks of these units connect to them."""
    return {
        address
        for state in brought.states
        if state.name in brought.judged
        for address, _ in state.listens
    }


def _url(socket: Socket) -> str:
    host = destination(socket.entry.address.strip("[]"))
    scope = f"%{socket.interface}" if socket.interface else ""
    at = f"[{host}{scope}]" if ":" in host else host
    return f"tcp://{at}:{socket.entry.port}"


def _unix_name(found: Sequence[Socket]) -> str:
    if len(found) == 1:
        return f"unix:{found[0].entry.text}"
    return f"unix sockets of {holder(found[0]).partition(',')[0]}"
