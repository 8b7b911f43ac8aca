"""Run other programs: tools of the host, and commands in a guest.

Command lines are lists, the environment is built and not inherited, a child has a session of its
own and so no terminal, its output is read with bounded memory, and waiting ends with the child,
even if a process that it started still has its pipes open.
"""

from __future__ import annotations

import logging
import os
import shlex
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from threading import Thread
from typing import IO, TYPE_CHECKING

from postroj.errors import CommandError, CommandTimeout, HostError
from postroj.streams import CHUNK as CHUNK
from postroj.streams import HEAD as HEAD
from postroj.streams import LIMIT as LIMIT
from postroj.streams import Feed as Feed
from postroj.streams import Loop, await_input
from postroj.streams import Tail as Tail

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    from postroj.streams import Sink

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
"""Prefix that runs a command in mount and PID namespaces of its own, so that neither processes nor
mounts outlive it; unshare(1) kills the command when it is killed itself."""

PROXIES = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy")
LONGEST = 2000
"""Characters of a line in evidence."""
TOOL_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, kw_only=True)
class Completed:
    """A program that has ended; `status` is 128 + N if signal N killed it."""

    argv: tuple[str, ...]
    status: int
    stdout: bytes
    stderr: bytes
    is_cut: bool = False
    """Whether stdout had more bytes than the limit."""

    @property
    def text(self) -> str:
        """Stdout without the final newline."""
        return self.stdout.decode(errors="replace").rstrip("\n")

    @property
    def output(self) -> str:
        """Stdout and stderr, as evidence."""
        return both(self.stdout, self.stderr)


def both(stdout: bytes, stderr: bytes) -> str:
    """Join two streams to one text, each on lines of its own."""
    texts = [stream.decode(errors="replace").rstrip("\n") for stream in (stdout, stderr)]
    return "\n".join(filter(None, texts))


def search_path() -> str:
    """Return PATH with the system's folders after it: users often lack those of sbin."""
    folders = [*os.environ.get("PATH", "").split(os.pathsep), *TOOL_PATH.split(os.pathsep)]
    # a relative or an empty entry would mean the current folder
    return os.pathsep.join(dict.fromkeys(filter(os.path.isabs, folders)))


def tool(name: str) -> str:
    """Return the absolute path of a tool of the host.

    :raises HostError: if the tool is not installed.
    """
    path = shutil.which(name, path=search_path())
    if path is None:
        message = f"'{name}' is not installed on this host"
        raise HostError(message)
    return path


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return a tool's environment: a path, a fixed locale, the user's proxies, and `extra`."""
    inherited = {name: value for name, value in os.environ.items() if name.lower() in PROXIES}
    fixed = {"PATH": search_path(), "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}
    return {**fixed, **inherited, **(extra or {})}


@contextmanager
def spawn(
    argv: Sequence[str],
    *,
    stdio: Stdio,
    env: Mapping[str, str],
    pass_fds: Collection[int] = (),
    folder: int | None = None,
    admit: Callable[[int], None] | None = None,
    with_terminal: bool = False,
) -> Iterator[Child]:
    """Run a program beside a `with` block; leaving the block ends it with its process group.

    What is left of a child that has ended by itself runs on. `admit` is called with the child's PID
    before the block; if it raises an error, the child is killed. `folder` and `with_terminal` are
    those of `launch`; what shares our terminal is not killed, but waited for.

    :raises HostError: if the program is not installed.
    """
    child = launch(
        argv, stdio=stdio, env=env, pass_fds=pass_fds, folder=folder, with_terminal=with_terminal
    )
    try:
        if admit:
            admit(child.pid)
        yield child
    finally:
        kill_group(child)
        for stream in (child.stdin, child.stdout, child.stderr):
            if stream:
                with suppress(BrokenPipeError):
                    stream.close()


def launch(
    argv: Sequence[str],
    *,
    stdio: Stdio,
    env: Mapping[str, str],
    pass_fds: Collection[int] = (),
    folder: int | None = None,
    with_terminal: bool = False,
) -> Child:
    """Start a program in a session and process group of its own; the caller ends and reaps it.

    In our session, as `with_terminal`, it can read, write and type on the user's terminal as
    `/dev/tty`. `folder` is a descriptor of its working directory, which it does not inherit;
    without one that is `/`.

    :raises HostError: if the program is not installed.
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
        # the current folder may be deleted or unmounted
        cwd="/" if folder is None else f"/proc/self/fd/{folder}",
        start_new_session=not with_terminal,
    )


def run(
    argv: Sequence[str],
    *,
    ok: Collection[int] = (0,),
    timeout: float | None = None,
    stdin: bytes = b"",
    env: Mapping[str, str] | None = None,
    pass_fds: Collection[int] = (),
    limit: int = LIMIT,
    folder: int | None = None,
    admit: Callable[[int], None] | None = None,
    with_terminal: bool = False,
) -> Completed:
    """Run a program to its end and return its status and the end of its output.

    `ok` are the statuses that are no error, `timeout` is in seconds, `limit` in bytes of stdout;
    `folder`, `admit` and `with_terminal` are those of `spawn`.

    :raises CommandError: if the program ended with another status.
    :raises CommandTimeout: if it did not end in time; its process group was killed.
    :raises HostError: if it is not installed.
    """
    env = environment() if env is None else env
    out, err = Tail(limit=limit, first=HEAD), Tail(first=HEAD)
    try:
        with spawn(
            argv,
            stdio=STDIO,
            env=env,
            pass_fds=pass_fds,
            folder=folder,
            admit=admit,
            with_terminal=with_terminal,
        ) as child:
            status = relay(child, stdin=Feed(stdin), stdout=out, stderr=err, timeout=timeout)
    except TimeoutError:
        silence = time.monotonic() - max(out.heard, err.heard)
        output = both(bytes(out), bytes(err))
        raise CommandTimeout(argv, timeout or 0, output, silence=silence) from None
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
    child: Child,
    *,
    stdin: Feed,
    stdout: Sink,
    stderr: Sink,
    timeout: float | None = None,
) -> int:
    """Carry bytes to and from a child with three pipes until it ends; return its status.

    A sink that raises `BrokenPipeError` gets nothing more, and the child finds its pipe closed.

    :raises TimeoutError: if the child does not end within `timeout` seconds; it still runs then.
    """
    assert child.stdin and child.stdout and child.stderr
    return serve(child, child.stdin, {child.stdout: stdout, child.stderr: stderr}, stdin, timeout)


def serve(
    child: Child,
    target: IO[bytes],
    sinks: Mapping[IO[bytes], Sink],
    feed: Feed,
    timeout: float | None = None,
) -> int:
    """Serve any streams of a child until it ends, as `relay` does; `Loop` has the parameters.

    :raises TimeoutError: if the child does not end within `timeout` seconds; it still runs then.
    """
    with _pidfd(child) as pidfd:
        _serve_until_end(child, Loop(target, sinks, feed, pidfd), timeout)
    return exit_status(child.wait())


@contextmanager
def _pidfd(child: Child) -> Iterator[int]:
    """Open a child that was not reaped, pidfd_open(2)."""
    pidfd = os.pidfd_open(child.pid)
    try:
        yield pidfd
    finally:
        os.close(pidfd)


def _serve_until_end(child: Child, loop: Loop, timeout: float | None = None) -> None:
    deadline = None if timeout is None else time.monotonic() + timeout
    while not loop.step(deadline):
        resume(child)
    loop.drain()


@contextmanager
def collecting_stderr(child: Child) -> Iterator[Tail]:
    """Store both ends of a child's stderr while a block serves its other streams.

    All of it is there after the block, which ends the child.
    """
    assert child.stderr
    complaints = Tail(first=HEAD)
    sinks: dict[IO[bytes], Sink] = {child.stderr: complaints}
    with _pidfd(child) as pidfd:  # here, since the block may reap the child before the thread runs
        # which must not reap the child, whose PID the block may use
        thread = Thread(target=_serve_until_end, args=(child, Loop(None, sinks, Feed(), pidfd)))
        thread.start()
        try:
            yield complaints
        finally:
            kill_group(child)
            thread.join()


def resume(process: Child) -> None:
    """Resume a child that has stopped itself.

    nsenter stops itself when its command is stopped, as systemd-shutdown(8) does to all processes
    of a guest. It would never reap the command, and the kernel would never end the guest.
    """
    with suppress(ChildProcessError):  # it was reaped
        if os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOHANG):
            process.send_signal(signal.SIGCONT)


def kill_group(process: Child) -> None:
    """Kill a child with its process group unless it has ended, and reap it."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def wait(process: Child, timeout: float) -> int | None:
    """Wait for a child and return its status, or None if it still runs after `timeout` seconds.

    `Popen.wait` with a timeout would poll, with sleeps of up to 50 ms.
    """
    if process.poll() is None:
        with _pidfd(process) as pidfd:
            await_input([pidfd], timeout)
    returncode = process.poll()
    return None if returncode is None else exit_status(returncode)


def exit_status(returncode: int) -> int:
    """Return the status as a shell does: 128 + N for a child killed by signal N."""
    return 128 - returncode if returncode < 0 else returncode


def last_lines(text: str, count: int = 20) -> str:
    """Return the last lines of a text, as evidence; long lines are cut."""
    return "\n".join(line[:LONGEST] for line in text.rstrip().splitlines()[-count:])


def file_end(path: Path, limit: int = LIMIT) -> str:
    """Return the last `limit` bytes of a file as text, '' if there is no file."""
    with suppress(FileNotFoundError), path.open("rb") as stream:
        stream.seek(max(0, stream.seek(0, os.SEEK_END) - limit))
        return stream.read(limit).decode(errors="replace")
    return ""


def file_tail(path: Path, count: int = 20) -> str:
    """Return the last lines of a file, '' if there is no file."""
    return last_lines(file_end(path), count)
