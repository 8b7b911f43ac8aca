"""Call a function in a process of its own, which may enter a user namespace and ends then.

A process without root cannot leave a user namespace, and from inside it reaches no other guest's.
"""

from __future__ import annotations

import os
from multiprocessing import get_context
from typing import TYPE_CHECKING, TypeVar, cast

from postroj import user
from postroj.errors import HostError, PostrojError

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

T = TypeVar("T")


def apart(call: Callable[[], T]) -> T:
    """Return what a function returns; it is called in another process unless we are root.

    What it returns must be of types that pickle knows. This process must not have more than one
    thread.

    :raises HostError: if the other process is killed.
    :raises PostrojError: if the function raises it; so with an `OSError`.
    """
    if user.is_root():
        return call()
    context = get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=_answer, args=(theirs, call))
    child.start()
    theirs.close()
    try:
        result, error = cast("tuple[T, Exception | None]", ours.recv())
    except EOFError:
        message = f"the process {child.pid} of this command was killed"
        raise HostError(message, hint="run the same command again") from None
    except BaseException:
        child.terminate()
        raise
    finally:
        child.join()
        ours.close()
    if error:
        raise error
    return result


def _answer(pipe: Connection, call: Callable[[], object]) -> None:
    """Send what a function returns and None, or None and the error that it raises."""
    answer: tuple[object, Exception | None]
    try:
        answer = call(), None
    except (PostrojError, OSError) as error:
        answer = None, error
    except KeyboardInterrupt:  # who called us has the same signal, or has sent it
        os._exit(1)
    pipe.send(answer)
