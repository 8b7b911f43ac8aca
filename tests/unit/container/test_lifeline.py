"""Lifelines: pipes that any thread may close."""

from __future__ import annotations

import os

from postroj.container import lifeline


def test_let_go_closes_the_pipe_and_may_be_called_twice() -> None:
    read_end, write_end = os.pipe()
    with os.fdopen(read_end, "rb") as reader, os.fdopen(write_end, "wb") as pipe:
        lifeline.add(pipe)
        lifeline.let_go(pipe)
        assert reader.read() == b""
        lifeline.let_go(pipe)
        lifeline.let_go_of_all()


def test_let_go_of_all_closes_the_pipes_that_were_added() -> None:
    ends = [os.pipe() for _ in range(3)]
    pipes = [os.fdopen(write_end, "wb") for _, write_end in ends]
    for pipe in pipes[:2]:
        lifeline.add(pipe)
    lifeline.let_go_of_all()
    assert [pipe.closed for pipe in pipes] == [True, True, False]
    pipes[2].close()
    for read_end, _ in ends:
        os.close(read_end)


def test_let_go_of_a_guest_that_has_ended() -> None:
    read_end, write_end = os.pipe()
    pipe = os.fdopen(write_end, "wb")
    pipe.write(b"unread")
    os.close(read_end)
    lifeline.add(pipe)
    lifeline.let_go_of_all()
    assert pipe.closed


def test_hand_over_writes_the_word_and_survives_let_go() -> None:
    read_end, write_end = os.pipe()
    with os.fdopen(read_end, "rb") as reader, os.fdopen(write_end, "wb") as pipe:
        lifeline.add(pipe)
        assert lifeline.hand_over(pipe)
        lifeline.let_go_of_all()
        lifeline.let_go(pipe)
        assert reader.read() == b"keep\n"


def test_hand_over_fails_after_let_go() -> None:
    read_end, write_end = os.pipe()
    with os.fdopen(read_end, "rb") as reader, os.fdopen(write_end, "wb") as pipe:
        lifeline.add(pipe)
        lifeline.let_go_of_all()
        assert not lifeline.hand_over(pipe)
        assert reader.read() == b""


def test_hand_over_fails_if_the_guest_has_ended() -> None:
    read_end, write_end = os.pipe()
    with os.fdopen(write_end, "wb") as pipe:
        os.close(read_end)
        lifeline.add(pipe)
        assert not lifeline.hand_over(pipe)
