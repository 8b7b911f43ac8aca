"""What comes back from a machine that may be hostile."""

from __future__ import annotations

import io
import os
import tarfile
from contextlib import ExitStack, suppress
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest

from postroj.errors import HostError, UsageError
from postroj.remote import results
from postroj.remote.freight import Expected, Kind
from postroj.remote.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

Sent = tuple[dict[str, Any], bytes]


def receive(expected: Sequence[Expected], *sent: Sent) -> None:
    """Receive what a machine sends."""
    reading, writing = os.pipe()
    with ExitStack() as stack:
        incoming = stack.enter_context(os.fdopen(reading, "rb", buffering=0))
        outgoing = stack.enter_context(os.fdopen(writing, "wb", buffering=0))
        wire = Wire(incoming, outgoing)

        def send() -> None:
            with suppress(BrokenPipeError):  # what is refused is not read to its end
                for head, data in sent:
                    wire.send_object(head)
                    wire.write(data)
                    wire.send(b"")
                wire.send_object({})
            outgoing.close()

        thread = Thread(target=send)
        thread.start()
        try:
            results.receive(wire, expected, "box")
        finally:
            incoming.close()
            thread.join()


def at(path: Path, kind: Kind = Kind.FILE) -> Expected:
    return Expected(path=str(path), kind=kind)


def tar(*members: tuple[str, bytes | str]) -> bytes:
    """Return a tar of files, or of links to a text."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as made:
        for name, content in members:
            member = tarfile.TarInfo(name)
            if isinstance(content, str):
                member.type, member.linkname = tarfile.SYMTYPE, content
                made.addfile(member)
            else:
                member.size = len(content)
                made.addfile(member, io.BytesIO(content))
    return file.getvalue()


def test_file_is_replaced_as_a_whole_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    receive([at(tmp_path / "link")], ({"output": 0}, b"new"))
    assert (tmp_path / "real").read_text() == "new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "real"]


def test_pipe_is_written_into(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    receive([at(pipe)], ({"output": 0}, b"new"))
    assert os.read(reader, 9) == b"new"
    os.close(reader)


def test_summary_is_added_to_a_file(tmp_path: Path) -> None:
    (tmp_path / "summary").write_text("one\n")
    receive([at(tmp_path / "summary", Kind.ADDED)], ({"output": 0}, b"two\n"))
    assert (tmp_path / "summary").read_text() == "one\ntwo\n"


@pytest.mark.parametrize("output", [1, -1, "0", None, True])
def test_file_that_nobody_named_is_refused(tmp_path: Path, output: object) -> None:
    with pytest.raises(HostError, match="'box' sent a file that the command does not name"):
        receive([at(tmp_path / "x")], ({"output": output}, b"new"))
    assert list(tmp_path.iterdir()) == []


def test_file_cannot_be_sent_twice(tmp_path: Path) -> None:
    sent: Sent = ({"output": 0}, b"new")
    with pytest.raises(HostError, match="does not name"):
        receive([at(tmp_path / "x")], sent, sent)


def test_second_file_is_written_though_the_first_cannot_be(tmp_path: Path) -> None:
    missing = at(tmp_path / "no" / "x")
    with pytest.raises(UsageError, match="/no/x' cannot be written"):
        receive([missing, at(tmp_path / "y")], ({"output": 0}, b"1"), ({"output": 1}, b"2"))
    assert (tmp_path / "y").read_text() == "2"


@pytest.mark.parametrize("by_descriptor", [True, False], ids=["POSIX", "Windows"])
def test_folder_is_merged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, by_descriptor: bool
) -> None:
    monkeypatch.setattr(results, "HAS_DESCRIPTORS", by_descriptor)
    folder = tmp_path / "found"
    receive([at(folder, Kind.FOLDER)], ({"output": 0, "folder": True}, tar(("./a/b", b"1"))))
    receive([at(folder, Kind.FOLDER)], ({"output": 0, "folder": True}, tar(("./a/c", b"2"))))
    assert (folder / "a/b").read_text() + (folder / "a/c").read_text() == "12"


@pytest.mark.parametrize("by_descriptor", [True, False], ids=["POSIX", "Windows"])
@pytest.mark.parametrize(
    "members",
    [
        [("../evil", b"1")],
        [("link", ".."), ("link/evil", b"1")],
        [("link", "/tmp"), ("link/evil", b"1")],
    ],
    ids=["dots", "link", "absolute link"],
)
def test_names_that_lead_out_of_a_folder_are_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    members: list[tuple[str, bytes | str]],
    *,
    by_descriptor: bool,
) -> None:
    monkeypatch.setattr(results, "HAS_DESCRIPTORS", by_descriptor)
    folder = tmp_path / "in" / "found"
    folder.parent.mkdir()
    with pytest.raises((HostError, UsageError)):
        receive([at(folder, Kind.COPY)], ({"output": 0, "folder": True}, tar(*members)))
    assert not list(tmp_path.rglob("evil"))


@pytest.mark.parametrize("by_descriptor", [True, False], ids=["POSIX", "Windows"])
def test_copy_of_one_file_gets_the_name_that_was_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, by_descriptor: bool
) -> None:
    monkeypatch.setattr(results, "HAS_DESCRIPTORS", by_descriptor)
    place = at(tmp_path / "typed", Kind.COPY)
    receive([place], ({"output": 0, "folder": False}, tar(("theirs", b"1"))))
    assert [path.name for path in tmp_path.iterdir()] == ["typed"]
    two = tar(("theirs", b"1"), ("more", b"2"))
    with pytest.raises(HostError, match=r"what 'box' sent for .* was refused"):
        receive([place], ({"output": 0, "folder": False}, two))
