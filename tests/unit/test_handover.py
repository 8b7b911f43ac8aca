"""What threads leave to the main thread."""

from __future__ import annotations

import threading

import pytest

from postroj.handover import Handover


def test_ask_runs_a_call_in_the_main_thread_and_waits() -> None:
    handover = Handover(threading.Event())
    threads: list[object] = []

    def work() -> None:
        handover.ask(lambda: threads.append(threading.current_thread()))
        threads.append("goes on")
        handover.end()

    thread = threading.Thread(target=work)
    thread.start()
    assert handover.next_end() is None
    thread.join()
    assert threads == [threading.current_thread(), "goes on"]


def test_end_hands_over_an_error() -> None:
    handover = Handover(threading.Event())
    mistake = ValueError()
    handover.end(mistake)
    assert handover.next_end() is mistake


def test_ask_returns_if_its_call_was_interrupted() -> None:
    handover = Handover(threading.Event())

    def interrupt() -> None:
        raise KeyboardInterrupt

    thread = threading.Thread(target=handover.ask, args=(interrupt,))
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        handover.next_end()
    thread.join(10)
    assert not thread.is_alive()


def test_ask_returns_once_the_main_thread_is_gone() -> None:
    over = threading.Event()
    handover = Handover(over)
    thread = threading.Thread(target=handover.ask, args=(lambda: None,))
    thread.start()
    over.set()
    thread.join(10)
    assert not thread.is_alive()
