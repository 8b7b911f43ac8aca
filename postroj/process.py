"""The one door to other programs, for tools of the host and for commands in a guest alike.

argv is a list to the end, the environment is built and not inherited, a child never shares our
terminal's process group, its output is read with bounded memory, and waiting ends when the child
does, also when something that it left behind still holds its pipes.
"""

from __future__ import annotations

import logging
import os
import selectors
import shlex
import shutil
import signal
import subprocess
import time
from collections import deque
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING

from postroj.errors import CommandError, CommandTimeout, HostError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from pathlib import Path

log = logging.getLogger(__name__)

CHUNK = 1 << 20
KEPT = 1 << 20
"""Bytes of each stream that `run` keeps: the last ones, where errors are."""

STDIO = (subprocess.PIPE, subprocess.PIPE, subprocess.PIPE)
PROXIES = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy")
TOOL_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, kw_only=True)
class Completed:
    """A program that ended; `status` is 128 + N when signal N killed it."""

    argv: tuple[str, ...]
    status: int
    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        """Its stdout, without the last line's end."""
        return self.stdout.decode(errors="replace").rstrip("\n")

    @property
    def output(self) -> str:
        """Both streams, stderr last, as evidence."""
        return (self.stdout + self.stderr).decode(errors="replace").rstrip("\n")


@dataclass
class Tail:
    """A sink that keeps the last `limit` bytes of what it is given."""

    limit: int = KEPT
    data: bytearray = field(default_factory=bytearray)

    def __call__(self, chunk: bytes) -> None:
        self.data += chunk
        if len(self.data) > 2 * self.limit:
            del self.data[: -self.limit]

    def __bytes__(self) -> bytes:
        return bytes(self.data[-self.limit :])


def tool(name: str) -> str:
    """Absolute path of a tool of the host.

    :raises HostError: if it is not installed.
    """
    # Users without root often have no sbin in PATH.
    path = shutil.which(name, path=os.pathsep.join((os.environ.get("PATH", ""), TOOL_PATH)))
    if path is None:
        message = f"'{name}' is not installed on this host"
        raise HostError(message)
    return path


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """What a tool of the host gets: a path, a fixed locale, the user's proxies, and `extra`."""
    inherited = {
        name: value for name, value in os.environ.items() if name.lower() in PROXIES
    }
    path = os.environ.get("PATH", TOOL_PATH)
    return {"PATH": path, "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", **inherited, **(extra or {})}


def spawn(
    argv: Sequence[str],
    *,
    stdio: tuple[int | IO[bytes], int | IO[bytes], int | IO[bytes]],
    env: Mapping[str, str],
    pass_fds: Collection[int] = (),
    session: bool = False,
) -> subprocess.Popen[bytes]:
    """Start a program in a process group (or `session`) of its own; the caller ends it.

    :raises HostError: if it is not installed.
    """
    log.debug("+ %s", shlex.join(argv))
    stdin, stdout, stderr = stdio
    return subprocess.Popen(
        [tool(argv[0]), *argv[1:]],
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        env=dict(env),
        pass_fds=tuple(pass_fds),
        start_new_session=session,
        process_group=None if session else 0,
    )


def run(
    argv: Sequence[str],
    *,
    ok: Collection[int] = (0,),
    timeout: float | None = None,
    stdin: bytes = b"",
    env: Mapping[str, str] | None = None,
) -> Completed:
    """Run a program to its end and keep the tail of what it says.

    `ok` are the statuses that are answers; `timeout` is in seconds.

    :raises CommandError: if it ended with another status.
    :raises CommandTimeout: if it did not end in time; its process group was killed.
    :raises HostError: if it is not installed.
    """
    process = spawn(argv, stdio=STDIO, env=environment() if env is None else env)
    out, err = Tail(), Tail()
    try:
        status = relay(process, stdin=Feed(stdin), stdout=out, stderr=err, timeout=timeout)
    except TimeoutError:
        output = (bytes(out) + bytes(err)).decode(errors="replace").rstrip("\n")
        raise CommandTimeout(argv, timeout or 0, output) from None
    done = Completed(argv=tuple(argv), status=status, stdout=bytes(out), stderr=bytes(err))
    if status not in ok:
        raise CommandError(argv, status, done.output)
    return done


class Feed:
    """What a child reads: some bytes, then all that a descriptor of ours gives (if any)."""

    def __init__(self, data: bytes = b"", descriptor: int | None = None) -> None:
        self.pending = memoryview(data)
        self.descriptor = descriptor

    def refill(self) -> None:
        """Take the next chunk from the descriptor; forget the descriptor at its end."""
        if self.descriptor is not None:
            chunk = os.read(self.descriptor, CHUNK)
            self.pending = memoryview(chunk)
            if not chunk:
                self.descriptor = None

    def drain(self, target: int) -> None:
        """Write as much as `target`, which does not block, takes."""
        with suppress(BlockingIOError):
            self.pending = self.pending[os.write(target, self.pending) :]


def relay(
    process: subprocess.Popen[bytes],
    *,
    stdin: Feed,
    stdout: Callable[[bytes], None],
    stderr: Callable[[bytes], None],
    timeout: float | None = None,
) -> int:
    """Carry bytes between us and a child with three pipes until it ends; its status.

    A sink that raises `BrokenPipeError` has had enough: the child is told so by its own pipe.
    Whatever else leaves this function early (a time-out, Ctrl-C) kills the child's group.

    :raises TimeoutError: if it did not end within `timeout` seconds.
    """
    assert process.stdin and process.stdout and process.stderr
    pidfd = os.pidfd_open(process.pid)
    loop = _Loop(process.stdin, {process.stdout: stdout, process.stderr: stderr}, stdin, pidfd)
    deadline = None if timeout is None else time.monotonic() + timeout
    try:
        while not loop.step(None if deadline is None else deadline - time.monotonic()):
            pass
        loop.drain()
        return exit_status(process.wait())
    except BaseException:
        kill_group(process)
        raise
    finally:
        for stream in (process.stdin, process.stdout, process.stderr):
            with suppress(BrokenPipeError):
                stream.close()
        os.close(pidfd)


class _Loop:
    """The `poll(2)` loop of `relay`: a feed, sinks, and the child's end."""

    def __init__(
        self,
        target: IO[bytes],
        sinks: dict[IO[bytes], Callable[[bytes], None]],
        feed: Feed,
        pidfd: int,
    ) -> None:
        self.target, self.sinks, self.feed, self.pidfd = target, dict(sinks), feed, pidfd
        # poll, since epoll refuses regular files, which stdin may be
        self.selector = selectors.PollSelector()
        self.selector.register(pidfd, selectors.EVENT_READ)
        os.set_blocking(target.fileno(), False)
        for source in sinks:
            os.set_blocking(source.fileno(), False)
            self.selector.register(source, selectors.EVENT_READ)
        self.watched: int | None = None
        self._watch_feed()

    def step(self, timeout: float | None) -> bool:
        """Wait for the next events and serve them; whether the child has ended."""
        if timeout is not None and timeout <= 0:
            raise TimeoutError
        ready = {key.fileobj for key, _ in self.selector.select(timeout)}
        if self.watched in ready:
            self._serve_feed()
        for source in [source for source in self.sinks if source in ready]:
            self._serve_sink(source)
        return self.pidfd in ready

    def drain(self) -> None:
        """Take what is in the pipes of a child that ended, and wait for nothing more."""
        for source in list(self.sinks):
            self._serve_sink(source)  # one chunk is more than a pipe holds

    def _serve_sink(self, source: IO[bytes]) -> None:
        """Pass one chunk on; forget the source at its end, or when its sink has had enough."""
        try:
            chunk = os.read(source.fileno(), CHUNK)
        except BlockingIOError:
            return
        try:
            self.sinks[source](chunk)
        except BrokenPipeError:
            chunk = b""
        if not chunk:
            del self.sinks[source]
            self.selector.unregister(source)
            source.close()

    def _serve_feed(self) -> None:
        try:
            if self.feed.pending:
                self.feed.drain(self.target.fileno())
            else:
                self.feed.refill()
        except BrokenPipeError:  # the child reads no more
            self.feed = Feed()
        self._watch_feed()

    def _watch_feed(self) -> None:
        """Watch the child's stdin while we have bytes for it, else our source of them."""
        wanted = self.target.fileno() if self.feed.pending else self.feed.descriptor
        if wanted == self.watched:
            return
        if self.watched is not None:
            self.selector.unregister(self.watched)
        self.watched = wanted
        if wanted is None:
            self.target.close()
        elif self.feed.pending:
            self.selector.register(wanted, selectors.EVENT_WRITE)
        else:
            self.selector.register(wanted, selectors.EVENT_READ)


def pipeline(
    producer: Sequence[str],
    consumer: Sequence[str],
    *,
    on_line: Callable[[str], None],
    env: Mapping[str, str] | None = None,
) -> None:
    """Run `producer | consumer`; `on_line` gets each line that the producer says on stderr.

    :raises CommandError: if one of them failed, with the last words of both.
    """
    with ExitStack() as stack:
        complaints = stack.enter_context(TemporaryFile())
        read_end, write_end = os.pipe()
        try:
            stdio = (subprocess.DEVNULL, write_end, subprocess.PIPE)
            source = spawn(producer, stdio=stdio, env=environment(env))
            stack.callback(kill_group, source)
            stdio = (read_end, subprocess.DEVNULL, complaints)
            sink = spawn(consumer, stdio=stdio, env=environment(env))
            stack.callback(kill_group, sink)
        finally:
            os.close(read_end)
            os.close(write_end)
        assert source.stderr
        said: deque[str] = deque(maxlen=40)
        for raw in stack.enter_context(source.stderr):
            line = raw.decode(errors="replace").rstrip()
            said.append(line)
            on_line(line)
        ends = [(producer, source.wait()), (consumer, sink.wait())]
        complaints.seek(0)
        said.extend(complaints.read().decode(errors="replace").splitlines())
        for argv, status in ends:
            if status:
                raise CommandError(argv, exit_status(status), "\n".join(said))


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill a child and what it started in its process group, and reap it."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def exit_status(returncode: int) -> int:
    """The status as a shell has it: 128 + N for a child killed by signal N."""
    return 128 - returncode if returncode < 0 else returncode


def last_lines(text: str, count: int = 20) -> str:
    """The last lines of a tool's output, as evidence."""
    return "\n".join(text.rstrip().splitlines()[-count:])


def file_tail(path: Path, count: int = 20) -> str:
    """The last lines of a log file, '' if there is none."""
    with suppress(FileNotFoundError), path.open("rb") as stream:
        stream.seek(max(0, stream.seek(0, os.SEEK_END) - KEPT))
        return last_lines(stream.read().decode(errors="replace"), count)
    return ""
