"""The user's end: start the other one by ssh, and be the command in its place.

One ssh carries files, signals and the exit status; a second one is the command's three streams. The
user's configuration, keys and agent are those of ssh, which also asks for passwords.
"""

from __future__ import annotations

import os
import re
import signal
import tempfile
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Thread
from typing import IO, TYPE_CHECKING, Any

from postroj import __version__, process
from postroj.errors import HostError
from postroj.remote import destination, results
from postroj.remote.freight import WINDOWS, as_file
from postroj.remote.wire import Wire
from postroj.streams import STDERR, STDIN, STDOUT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from postroj.process import Child, Stdio
    from postroj.remote.destination import Ways
    from postroj.remote.freight import Freight

POLL = 0.2
"""Maximum delay of a signal, in seconds."""
BEAT = 15.0
"""Seconds between two signs of life."""
PATIENCE = 5.0
"""Seconds for the other end to report a command whose streams have ended."""
AT_THE_END = 1.0
"""Seconds for an ssh to end by itself."""
UNREACHABLE = 255
"""The status of an ssh that has failed itself, ssh(1)."""
HELLO = re.compile(rb"postroj (\S+)(?: (/.+))?")
SHOWN = ("NO_COLOR", "FORCE_COLOR", "POSTROJ_REQUIRE", "POSTROJ_CATALOG", "POSTROJ_LOCK")
"""Environment variables of postroj that mean the same on another machine."""
SUMMARY = "GITHUB_STEP_SUMMARY"


def carry_out(host: str, words: Sequence[str], freight: Freight) -> int:
    """Carry out a command line on another machine, and return its exit status.

    :raises UsageError: if `host` cannot be one.
    :raises HostError: if it cannot be reached, lacks this version of postroj, or gets lost.
    """
    to = destination.check(host)
    names = (*SHOWN, SUMMARY)
    order = {
        "words": list(words),
        "environment": {name: os.environ[name] for name in names if name in os.environ},
        "variables": freight.variables,
        "folder": freight.place(freight.folder),
        "host": to.removeprefix(destination.SCHEME) if len(destination.as_words(to)) == 1 else to,
        "windows": WINDOWS,
        "expected": [
            {"path": freight.place(one.path), "kind": one.kind} for one in freight.expected
        ],
    }
    with ExitStack() as stack:
        link = _connect(to, stack)
        try:
            link.load(order, freight)
            status = link.follow(stack)
            results.receive(link.wire, freight.expected, link.name)
        except (EOFError, BrokenPipeError):
            raise link.lost() from None
        return status


class _Link:
    """A connection to the other end."""

    def __init__(
        self,
        to: str,
        ways: Ways,
        child: Child,
        complaints: IO[bytes],
        folder: str,
        own: tempfile.TemporaryDirectory[str],
    ) -> None:
        self.to, self.ways, self.child, self.complaints = to, ways, child, complaints
        self.own = own
        """The folder of the socket."""
        self.name, self.typed = _shown(to)
        self.folder = folder
        """Of the other end."""
        self.wire = _wire(child)
        self.streams: Child | None = None
        self._status: int | None = None
        self._is_known = False
        self._sent = 0
        """The last signal that was passed on."""

    def load(self, order: dict[str, Any], freight: Freight) -> None:
        """Send the command with its files.

        :raises HostError: if the other machine cannot store them.
        :raises OSError: if a file cannot be read.
        """
        self.wire.send_object(order)
        freight.write(as_file(self.wire))
        self.wire.send(b"")
        answer = self.wire.receive_object()
        if "error" in answer:
            message = f"'{self.name}' cannot store the files of this command"
            hint = f"`{self.typed} df` shows its disks"
            raise HostError(message, evidence=str(answer["error"]), hint=hint)

    def follow(self, stack: ExitStack) -> int:
        """Be the command, and return its exit status.

        :raises HostError: if it is killed there.
        :raises EOFError: if the connection ends.
        """
        with_terminal = all(map(os.isatty, (STDIN, STDOUT, STDERR)))
        argv = destination.attach_argv(self.to, self.ways, self.folder, with_terminal=with_terminal)
        stdio = (STDIN, STDOUT, STDERR)
        # Ctrl-C is passed on by us, and must not end an ssh that writes what comes after it
        apart = bool(self.ways.socket) and not with_terminal
        with _ignoring_interrupts():  # which an ssh that shares a connection does not heed
            streams = stack.enter_context(_ssh(argv, stdio, with_terminal=not apart))
        self.streams = streams
        reader = Thread(target=self._read_status, daemon=True)
        with self._passing_signals_on():
            reader.start()
            self._wait(reader, streams)
        if not self._is_known:
            raise EOFError
        streams.wait()
        if self._status is None and not self._sent:
            message = f"postroj was killed on '{self.name}'"
            raise HostError(message, hint=f"`{self.typed} dmesg` may tell why")
        return 128 + self._sent if self._status is None else self._status

    def _read_status(self) -> None:
        with suppress(EOFError):
            self.wire.receive_object()
            self.own.cleanup()  # now, as nobody does it for us if we are killed
            status = self.wire.receive_object().get("status")
            self._status = status if isinstance(status, int) else None
            self._is_known = True

    def _wait(self, reader: Thread, streams: Child) -> None:
        beat = time.monotonic()
        ended: float | None = None
        while reader.is_alive():
            reader.join(POLL)
            now = time.monotonic()
            if now - beat > BEAT:
                beat = now
                self._tell(b"")
            if ended is None and streams.poll() is not None:
                ended = now
            if ended and now - ended > PATIENCE:  # the other end ends the command then
                self.hang_up()
                return

    @contextmanager
    def _passing_signals_on(self) -> Iterator[None]:
        known = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP} & signal.valid_signals()
        before = {number: signal.getsignal(number) for number in known}
        try:
            for number in known:
                if before[number] is not signal.SIG_IGN:
                    signal.signal(number, lambda number, _: self._pass_on(number))
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _pass_on(self, number: int) -> None:
        self._sent = number
        self._tell(bytes([number]))

    def _tell(self, word: bytes) -> None:
        with suppress(OSError, ValueError):  # it is gone, which the reader notices, or hung up
            self.wire.send(word)

    def hang_up(self) -> None:
        """Let the other end know that nobody waits for it."""
        assert self.child.stdin
        self.child.stdin.close()

    def lost(self) -> HostError:
        """Return the error of a connection that has ended too early."""
        _wait_briefly(self.child, AT_THE_END)
        message = f"the connection to '{self.name}' was lost"
        hint = "the command ends there when that is noticed; run it again"
        return HostError(message, evidence=_said(self.complaints) or self._ends(), hint=hint)

    def _ends(self) -> str:
        """Say how each ssh has ended, if they have said nothing themselves."""
        ended = [one.returncode for one in (self.child, self.streams) if one and one.returncode]
        return "\n".join(f"ssh ended with status {process.exit_status(code)}" for code in ended)


def _shown(to: str) -> tuple[str, str]:
    """Return the name of a machine for messages, and the `ssh` that gets there."""
    words = destination.as_words(to)
    return words[-1], " ".join(("ssh", *words))


def _wire(child: Child) -> Wire:
    assert child.stdin and child.stdout
    return Wire(child.stdout, child.stdin)


def _connect(to: str, stack: ExitStack) -> _Link:
    """Connect, and check that the other end is what this one takes it for."""
    own = tempfile.TemporaryDirectory(prefix="postroj-ssh-")
    folder = stack.enter_context(own)
    complaints = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 it enters it
    ways = destination.ways_of(
        _configuration(to, complaints), "" if WINDOWS else str(Path(folder, "socket"))
    )
    argv = destination.serve_argv(to, ways)
    with _ignoring_interrupts():
        child = stack.enter_context(_ssh(argv, (process.PIPE, process.PIPE, complaints)))
    wire = _wire(child)
    found = None
    try:
        while not (found := HELLO.fullmatch(wire.line())):  # what a shell there prints as it starts
            pass
    except EOFError:
        raise _refused(to, child.wait(), _said(complaints)) from None
    name, typed = _shown(to)
    version = found[1].decode(errors="replace")
    if version != __version__:
        message = f"this is postroj {__version__}, and '{name}' has {version}"
        raise HostError(message, hint=_install(to))
    if not found[2]:
        message = f"postroj on '{name}' cannot serve this one"
        raise HostError(message, evidence=_said(complaints), hint=f"`{typed} df` shows its disks")
    return _Link(to, ways, child, complaints, os.fsdecode(found[2]), own)


def _configuration(to: str, complaints: IO[bytes]) -> str:
    argv = destination.configuration_argv(to)
    with _ssh(argv, (process.DEVNULL, process.PIPE, complaints)) as child:
        printed = child.communicate()[0].decode(errors="replace")
    if child.returncode:
        raise _refused(to, UNREACHABLE, _said(complaints))
    return printed


def _refused(to: str, status: int, said: str) -> HostError:
    """Return the error of an ssh that has ended before the other end has said a word."""
    name, typed = _shown(to)
    if status == destination.MISSING:
        message = f"'{name}' has no postroj"
        return HostError(message, evidence=said, hint=_install(to))
    if status == UNREACHABLE:
        message = f"ssh cannot reach '{name}'"
        return HostError(message, evidence=said, hint=f"`{typed}` must work; try it by hand")
    message = f"postroj cannot be started on '{name}': status {status}"
    return HostError(message, evidence=said, hint=_install(to))


def _install(to: str) -> str:
    _, typed = _shown(to)
    return f"install the same version there: `{typed} pipx install --force postroj=={__version__}`"


def _said(complaints: IO[bytes]) -> str:
    """Return what ssh and the other end have said on stderr."""
    complaints.seek(0)
    return process.last_lines(complaints.read().decode(errors="replace").replace("\r", ""))


@contextmanager
def _ssh(argv: Sequence[str], stdio: Stdio, *, with_terminal: bool = True) -> Iterator[Child]:
    """Run ssh beside a `with` block; leaving the block ends it.

    Only `with_terminal` it can ask the user for a password.

    :raises HostError: if there is no ssh.
    """
    try:
        child = process.launch(argv, stdio=stdio, env=os.environ, with_terminal=with_terminal)
    except HostError as error:
        error.hint = "`--host` needs OpenSSH: install openssh-client"
        raise
    try:
        yield child
    finally:
        for stream in (child.stdin, child.stdout):
            if stream:
                with suppress(OSError):
                    stream.close()
        if child.poll() is None:
            _wait_briefly(child, AT_THE_END)
        if child.poll() is None:
            child.terminate()
        child.wait()


def _wait_briefly(child: Child, seconds: float) -> None:
    """Wait for a child, also where there is no pidfd_open(2)."""
    end = time.monotonic() + seconds
    while child.poll() is None and time.monotonic() < end:
        time.sleep(0.02)


@contextmanager
def _ignoring_interrupts() -> Iterator[None]:
    """Start a child that ignores Ctrl-C, which is for the command."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
