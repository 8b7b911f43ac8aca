"""Frames between two ends."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from postroj.remote.wire import LARGEST, Stream, Wire

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def wire() -> Iterator[Wire]:
    """A wire whose other end it is itself."""
    reading, writing = os.pipe()
    with ExitStack() as stack:
        incoming = stack.enter_context(os.fdopen(reading, "rb", buffering=0))
        outgoing = stack.enter_context(os.fdopen(writing, "wb", buffering=0))
        yield Wire(incoming, outgoing)


def test_frames_and_objects_come_out_as_they_went_in(wire: Wire) -> None:
    wire.send(b"\x02")
    wire.send_object({"a": [1, "é"]})
    wire.outgoing.write(b"hello\r\nmore\n")
    assert wire.receive() == b"\x02"
    assert wire.receive_object() == {"a": [1, "é"]}
    assert (wire.line(), wire.line()) == (b"hello", b"more")


def test_stream_reads_across_frames_and_ends(wire: Wire) -> None:
    wire.write(b"abc")
    wire.write(b"defg")
    wire.send(b"")
    wire.send(b"next")
    stream = Stream(wire)
    assert [stream.read(2), stream.read(4), stream.read(9), stream.read(1)] == [
        *(b"ab", b"cdef", b"g", b"")
    ]
    assert wire.receive() == b"next"


def test_stream_skip_leaves_what_comes_next(wire: Wire) -> None:
    wire.write(b"abc")
    wire.write(b"def")
    wire.send(b"")
    wire.send(b"next")
    Stream(wire).skip()
    assert wire.receive() == b"next"


def test_receive_refuses_the_end_too_large_frames_and_other_objects(wire: Wire) -> None:
    wire.outgoing.write((LARGEST + 1).to_bytes(4, "big"))
    with pytest.raises(EOFError):
        wire.receive()
    for text in (b"[]", b"{"):
        wire.write(text)
        wire.send(b"")
        with pytest.raises(EOFError):
            wire.receive_object()
    wire.outgoing.write(b"\0\0\0\5abc")
    wire.outgoing.close()
    with pytest.raises(EOFError):
        wire.receive()
