"""Sockets in a guest's network, opened by a thread of this process."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, TypeVar

from postroj.container import kernel
from postroj.errors import GuestError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def inside(namespace: int, function: Callable[[], T]) -> T:
    """Call `function` in a network namespace, so that the sockets that it opens are the guest's.

    `namespace` is a descriptor. A namespace belongs to a thread, so a thread is made for the call
    and ends with it.

    :raises GuestError: if the namespace cannot be entered.
    """
    from concurrent.futures import Future

    future: Future[T] = Future()

    def enter_and_call() -> None:
        try:
            _enter(namespace)
            future.set_result(function())
        except BaseException as error:  # raised again in the caller's thread
            future.set_exception(error)

    threading.Thread(target=enter_and_call, name="netns", daemon=True).start()
    return future.result()


def _enter(namespace: int) -> None:
    try:
        kernel.enter_network(namespace)
    except OSError as error:
        message = "the guest's network cannot be entered: has the guest ended?"
        raise GuestError(message, evidence=str(error.strerror)) from None
