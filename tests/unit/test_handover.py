"""What threads leave to the main thread."""

from __future__ import annotations

import threading

import pytest

from postroj.handover import Handover


def test_an_errand_is_done_by_the_main_thread_while_who_asks_waits() -> None:
    handover = Handover(threading.Event())
    told: list[object] = []

    def work() -> None:
        handover.ask(lambda: told.append(threading.current_thread()))
        told.append("goes on")
        handover.end()

    thread = threading.Thread(target=work)
    thread.start()
    assert handover.next_end() is None
    thread.join()
    assert told == [threading.current_thread(), "goes on"]


def test_a_mistake_is_handed_over() -> None:
    handover = Handover(threading.Event())
    mistake = ValueError()
    handover.end(mistake)
    assert handover.next_end() is mistake


def test_nobody_waits_for_an_errand_that_was_interrupted() -> None:
    handover = Handover(threading.Event())

    def interrupt() -> None:
        raise KeyboardInterrupt

    thread = threading.Thread(target=handover.ask, args=(interrupt,))
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        handover.next_end()
    thread.join(10)
    assert not thread.is_alive()


def test_nobody_waits_for_who_is_gone() -> None:
    over = threading.Event()
    handover = Handover(over)
    thread = threading.Thread(target=handover.ask, args=(lambda: None,))
    thread.start()
    over.set()
    thread.join(10)
    assert not thread.is_alive()
