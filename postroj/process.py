"""The one door to other programs, for tools of the host and for commands in a guest alike.

argv is a list to the end, the environment is built and not inherited, a child never shares our
terminal's process group, its output is read with bounded memory, and waiting ends when the child
does, also when something that it left behind still holds its pipes.
"""

from __future__ import annotations

import logging
import os
import select
import shlex
import shutil
import signal
import subprocess
import time
from collections import deque
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from postroj.errors import CommandError, CommandTimeout, HostError
from postroj.streams import CHUNK as CHUNK
from postroj.streams import HEAD as HEAD
from postroj.streams import KEPT as KEPT
from postroj.streams import Feed as Feed
from postroj.streams import Loop
from postroj.streams import Tail as Tail

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from pathlib import Path

log = logging.getLogger(__name__)

PIPE = subprocess.PIPE
DEVNULL = subprocess.DEVNULL
Child = subprocess.Popen[bytes]
Stdio = tuple[int | IO[bytes], int | IO[bytes], int | IO[bytes]]
"""stdin, stdout and stderr of a child: each `PIPE`, `DEVNULL`, a descriptor or a file."""
STDIO = (PIPE, PIPE, PIPE)
CONTAINED = (
    *("unshare", "--mount", "--propagation", "slave"),
    *("--pid", "--fork", "--kill-child", "--mount-proc"),
)
"""Runs a command in mount and process namespaces of its own: nothing that it started or mounted
outlives it, however it ends. unshare(1) passes a death of its own on to what it started."""

PROXIES = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy")
LONGEST = 2000
"""Characters of a line that are kept as evidence."""
TOOL_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, kw_only=True)
class Completed:
    """A program that ended; `status` is 128 + N when signal N killed it."""

    argv: tuple[str, ...]
    status: int
    stdout: bytes
    stderr: bytes
    is_cut: bool = False
    """Whether it has printed more to stdout than was kept."""

    @property
    def text(self) -> str:
        """Its stdout, without the last line's end."""
        return self.stdout.decode(errors="replace").rstrip("\n")

    @property
    def output(self) -> str:
        """Both streams, stderr last, as evidence."""
        return both(self.stdout, self.stderr)


def both(stdout: bytes, stderr: bytes) -> str:
    """Two streams as one text, the second on lines of its own."""
    texts = [stream.decode(errors="replace").rstrip("\n") for stream in (stdout, stderr)]
    return "\n".join(filter(None, texts))


def search_path() -> str:
    """PATH, and after it the system's folders: users without root often lack the sbin ones."""
    folders = [*os.environ.get("PATH", "").split(os.pathsep), *TOOL_PATH.split(os.pathsep)]
    # A relative or an empty entry would mean the current folder.
    return os.pathsep.join(dict.fromkeys(filter(os.path.isabs, folders)))


def tool(name: str) -> str:
    """Absolute path of a tool of the host.

    :raises HostError: if it is not installed.
    """
    path = shutil.which(name, path=search_path())
    if path is None:
        message = f"'{name}' is not installed on this host"
        raise HostError(message)
    return path


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """What a tool of the host gets: a path, a fixed locale, the user's proxies, and `extra`."""
    inherited = {name: value for name, value in os.environ.items() if name.lower() in PROXIES}
    fixed = {"PATH": search_path(), "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}
    return {**fixed, **inherited, **(extra or {})}


def spawn(
    argv: Sequence[str],
    *,
    stdio: Stdio,
    env: Mapping[str, str],
    pass_fds: Collection[int] = (),
) -> subprocess.Popen[bytes]:
    """Start a program in a process group of its own; the caller ends it.

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
        cwd="/",  # ours may be unmounted or deleted, and is nobody's business
        process_group=0,
    )


def run(
    argv: Sequence[str],
    *,
    ok: Collection[int] = (0,),
    timeout: float | None = None,
    stdin: bytes = b"",
    env: Mapping[str, str] | None = None,
    pass_fds: Collection[int] = (),
    keep: int = KEPT,
) -> Completed:
    """Run a program to its end and keep the tail of what it says.

    `ok` are the statuses that are answers; `timeout` is in seconds, `keep` in bytes of stdout.

    :raises CommandError: if it ended with another status.
    :raises CommandTimeout: if it did not end in time; its process group was killed.
    :raises HostError: if it is not installed.
    """
    env = environment() if env is None else env
    process = spawn(argv, stdio=STDIO, env=env, pass_fds=pass_fds)
    out, err = Tail(limit=keep, first=HEAD), Tail(first=HEAD)
    try:
        status = relay(process, stdin=Feed(stdin), stdout=out, stderr=err, timeout=timeout)
    except TimeoutError:
        raise CommandTimeout(argv, timeout or 0, both(bytes(out), bytes(err))) from None
    done = Completed(
        argv=tuple(argv),
        status=status,
        stdout=bytes(out),
        stderr=bytes(err),
        is_cut=out.is_cut,
    )
    if status not in ok:
        raise CommandError(argv, status, done.output)
    return done


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
    deadline = None if timeout is None else time.monotonic() + timeout
    pidfd = os.pidfd_open(process.pid)
    try:
        loop = Loop(process.stdin, {process.stdout: stdout, process.stderr: stderr}, stdin, pidfd)
        while not loop.step(deadline):
            resume(process)
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


def resume(process: subprocess.Popen[bytes]) -> None:
    """Have a child go on that stopped itself.

    So nsenter does when the command is stopped that it started, as all are by a guest that shuts
    down (systemd-shutdown(8)); it would never see their end, nor the kernel that of the guest.
    """
    with suppress(ChildProcessError):  # it has ended
        if os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOHANG):
            process.send_signal(signal.SIGCONT)


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
    from tempfile import TemporaryFile

    with ExitStack() as stack:
        complaints = stack.enter_context(TemporaryFile())
        read_end, write_end = os.pipe()
        try:
            source = spawn(
                producer,
                stdio=(subprocess.DEVNULL, write_end, subprocess.PIPE),
                env=environment(env),
            )
            assert source.stderr
            lines = stack.enter_context(source.stderr)
            stack.callback(kill_group, source)
            sink = spawn(
                consumer,
                stdio=(read_end, subprocess.DEVNULL, complaints),
                env=environment(env),
            )
            stack.callback(kill_group, sink)
        finally:
            os.close(read_end)
            os.close(write_end)
        said: deque[str] = deque(maxlen=40)
        for raw in lines:
            line = raw.decode(errors="replace").rstrip()
            said.append(line)
            on_line(line)
        ends = [(producer, exit_status(source.wait())), (consumer, exit_status(sink.wait()))]
        complaints.seek(0)
        said.extend(complaints.read().decode(errors="replace").splitlines())
        _blame(ends, "\n".join(said))


def _blame(ends: list[tuple[Sequence[str], int]], said: str) -> None:
    """Raise for a pipeline whose parts ended as `ends` says, if one failed."""
    failed = [(argv, status) for argv, status in ends if status]
    if len(failed) > 1 and failed[0][1] == 128 + signal.SIGPIPE:
        del failed[0]  # nobody read on: the consumer was first to fail
    if failed:
        words = [f"'{argv[0]}' ended with status {status}" for argv, status in failed]
        raise CommandError(*failed[0], said, message=" and ".join(words))


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill a child and what it started in its process group, and reap it."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def wait(process: subprocess.Popen[bytes], timeout: float) -> int | None:
    """Wait for a child; its status, None if it runs on after `timeout` seconds.

    `Popen.wait` with a timeout looks again after sleeps of up to 50 ms.
    """
    if process.poll() is None:
        pidfd = os.pidfd_open(process.pid)
        try:
            select.select([pidfd], [], [], timeout)
        finally:
            os.close(pidfd)
    returncode = process.poll()
    return None if returncode is None else exit_status(returncode)


def exit_status(returncode: int) -> int:
    """The status as a shell has it: 128 + N for a child killed by signal N."""
    return 128 - returncode if returncode < 0 else returncode


def last_lines(text: str, count: int = 20) -> str:
    """The last lines of a tool's output, as evidence; long ones are cut."""
    return "\n".join(line[:LONGEST] for line in text.rstrip().splitlines()[-count:])


def file_end(path: Path, limit: int = KEPT) -> str:
    """The last `limit` bytes of a log file, '' if there is none."""
    with suppress(FileNotFoundError), path.open("rb") as stream:
        stream.seek(max(0, stream.seek(0, os.SEEK_END) - limit))
        return stream.read(limit).decode(errors="replace")
    return ""


def file_tail(path: Path, count: int = 20) -> str:
    """The last lines of a log file, '' if there is none."""
    return last_lines(file_end(path), count)
