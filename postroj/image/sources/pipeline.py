"""Run two programs of the host with a pipe between them."""

from __future__ import annotations

import os
import signal
from collections import deque
from contextlib import ExitStack
from threading import Timer
from typing import TYPE_CHECKING

from postroj import process
from postroj.errors import CommandError, CommandTimeout

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


def pipeline(
    producer: Sequence[str],
    consumer: Sequence[str],
    *,
    on_line: Callable[[str], None],
    timeout: float | None = None,
    env: Mapping[str, str] | None = None,
) -> None:
    """Run `producer | consumer`; `on_line` gets each line of the producer's stderr.

    :raises CommandError: if one of them failed, with the last output of both.
    :raises CommandTimeout: if the producer has to be killed after `timeout` seconds.
    """
    killed: list[float] = []
    with ExitStack() as stack:
        read_end, write_end = os.pipe()
        try:
            env = process.environment(env)
            out, into = (
                (process.DEVNULL, write_end, process.PIPE),
                (read_end, process.DEVNULL, process.PIPE),
            )
            source = stack.enter_context(process.spawn(producer, stdio=out, env=env))
            sink = stack.enter_context(process.spawn(consumer, stdio=into, env=env))
            complaints = stack.enter_context(process.collecting_stderr(sink))
        finally:
            os.close(read_end)
            os.close(write_end)
        assert source.stderr
        if timeout is not None:

            def kill(seconds: float) -> None:
                killed.append(seconds)
                source.kill()

            timer = Timer(timeout, kill, [timeout])
            stack.callback(timer.cancel)
            timer.start()
        printed: deque[str] = deque(maxlen=40)
        for raw in source.stderr:
            line = raw.decode(errors="replace").rstrip()
            printed.append(line)
            on_line(line)
        ends = [
            (producer, process.exit_status(source.wait())),
            (consumer, process.exit_status(sink.wait())),
        ]
    printed.extend(bytes(complaints).decode(errors="replace").splitlines())
    if killed:
        raise CommandTimeout(producer, killed[0], "\n".join(printed))
    _require_success(ends, "\n".join(printed))


def _require_success(ends: list[tuple[Sequence[str], int]], printed: str) -> None:
    """Raise an error if a part of a pipeline failed; `ends` are their statuses."""
    failed = [(argv, status) for argv, status in ends if status]
    if len(failed) > 1 and failed[0][1] == 128 + signal.SIGPIPE:
        del failed[0]  # its reader was gone: the consumer failed first
    if failed:
        words = [f"'{argv[0]}' ended with status {status}" for argv, status in failed]
        raise CommandError(*failed[0], printed, message=" and ".join(words))
