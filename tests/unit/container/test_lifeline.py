"""Lifelines: pipes that any thread may close."""

from __future__ import annotations

import os

from postroj.container import lifeline


def test_letting_go_closes_the_pipe_and_may_be_done_twice() -> None:
    read_end, write_end = os.pipe()
    with os.fdopen(read_end, "rb") as reader, os.fdopen(write_end, "wb") as pipe:
        lifeline.keep(pipe)
        lifeline.let_go(pipe)
        assert reader.read() == b""
        lifeline.let_go(pipe)
        lifeline.let_go_of_all()


def test_all_that_are_kept_and_no_other() -> None:
    ends = [os.pipe() for _ in range(3)]
    pipes = [os.fdopen(write_end, "wb") for _, write_end in ends]
    for pipe in pipes[:2]:
        lifeline.keep(pipe)
    lifeline.let_go_of_all()
    assert [pipe.closed for pipe in pipes] == [True, True, False]
    pipes[2].close()
    for read_end, _ in ends:
        os.close(read_end)


def test_a_guest_that_is_gone_already() -> None:
    read_end, write_end = os.pipe()
    pipe = os.fdopen(write_end, "wb")
    pipe.write(b"unread")
    os.close(read_end)
    lifeline.keep(pipe)
    lifeline.let_go_of_all()
    assert pipe.closed


def test_who_is_handed_over_hears_so_and_is_let_go_of_by_nobody() -> None:
    read_end, write_end = os.pipe()
    with os.fdopen(read_end, "rb") as reader, os.fdopen(write_end, "wb") as pipe:
        lifeline.keep(pipe)
        assert lifeline.hand_over(pipe)
        lifeline.let_go_of_all()
        lifeline.let_go(pipe)
        assert reader.read() == b"keep\n"


def test_who_was_told_to_end_cannot_be_handed_over() -> None:
    read_end, write_end = os.pipe()
    with os.fdopen(read_end, "rb") as reader, os.fdopen(write_end, "wb") as pipe:
        lifeline.keep(pipe)
        lifeline.let_go_of_all()
        assert not lifeline.hand_over(pipe)
        assert reader.read() == b""


def test_who_is_gone_cannot_be_handed_over() -> None:
    read_end, write_end = os.pipe()
    with os.fdopen(write_end, "wb") as pipe:
        os.close(read_end)
        lifeline.keep(pipe)
        assert not lifeline.hand_over(pipe)
