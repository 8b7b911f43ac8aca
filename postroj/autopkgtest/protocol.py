"""The protocol of autopkgtest's virtualisation servers: a request a line, and a line as the answer.

README.virtualisation-server of the package autopkgtest defines it. Where autopkgtest itself reads
an answer in another way, the answer is what autopkgtest reads.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol
from urllib.parse import quote, unquote

from postroj.errors import PostrojError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

log = logging.getLogger(__name__)

OK = "ok"
QUIT = "quit"
LATE = "timeout"
NOT_COPIED = "copy-failed"


class Testbed(Protocol):
    """What a server serves: one guest at a time.

    A method that cannot do its work raises `PostrojError`.
    """

    @property
    def capabilities(self) -> Sequence[str]:
        """What it can do, in the words of the protocol."""

    @property
    def execute_argv(self) -> Sequence[str]:
        """The words before a command of the host that make it one of the testbed."""

    def open(self) -> str:
        """Boot a guest, and return a folder in it that anybody may use."""

    def close(self) -> None:
        """End the guest, if there is one."""

    def revert(self) -> str:
        """Replace the guest by a fresh one, as `close` and `open` do."""

    def reboot(self, *, by_test: bool) -> None:
        """Reboot the guest with its files; `by_test` waits until a test in it does that."""

    def copy_in(self, source: str, target: str) -> None:
        """Copy a file, or the content of a folder if both paths end in a slash, into the guest.

        :raises TimeoutError: if that takes too long.
        """

    def copy_out(self, source: str, target: str) -> None:
        """Copy a file, or the content of a folder if both paths end in a slash, to the host.

        :raises TimeoutError: if that takes too long.
        """

    def shell(self, folder: str, variables: Sequence[str]) -> None:
        """Let the user work in a shell in the guest."""

    def explain(self) -> None:
        """Log what may explain that a command in the guest failed."""


def serve(testbed: Testbed, requests: Iterable[str], answer: Callable[[str], None]) -> None:
    """Answer all requests until `quit`, which closes the testbed.

    :raises PostrojError: if a request fails, or the requests end without a `quit`.
    """
    answer(OK)
    for request in requests:
        words = list(map(unquote, request.split()))
        if words == [QUIT]:
            testbed.close()
            with suppress(BrokenPipeError):  # autopkgtest does not read this answer
                answer(OK)
            return
        if words:
            answer(_perform(testbed, words))
    message = "autopkgtest ended without closing its testbed"
    raise PostrojError(message)


def _perform(testbed: Testbed, words: Sequence[str]) -> str:
    """Carry out one request, and return the answer."""
    match words:
        case ["capabilities"]:
            return " ".join((OK, *testbed.capabilities))
        case ["open"]:
            return f"{OK} {testbed.open()}"
        case ["revert"]:
            return f"{OK} {testbed.revert()}"
        case ["close"]:
            testbed.close()
        case ["reboot"]:
            testbed.reboot(by_test=False)
        case ["reboot", "prepare-only"]:
            testbed.reboot(by_test=True)
        case ["print-execute-command"]:
            return f"{OK} {','.join(map(quote, testbed.execute_argv))}"
        case ["copydown", source, target] if _agree(source, target):
            return _copied(testbed.copy_in, source, target)
        case ["copyup", source, target] if _agree(source, target):
            return _copied(testbed.copy_out, source, target)
        case ["shell", folder, *variables]:
            testbed.shell(folder, variables)
        case ["auxverb_debug_fail"]:
            testbed.explain()
        case _:
            message = "autopkgtest sent a request that this server does not know"
            raise PostrojError(message, evidence=" ".join(words))
    return OK


def _agree(source: str, target: str) -> bool:
    """Whether two paths are both of files or both of folders."""
    return bool(source and target) and source.endswith("/") is target.endswith("/")


def _copied(copy: Callable[[str, str], None], source: str, target: str) -> str:
    """Copy, and return the answer; one that begins with another word than `ok` is a failure."""
    try:
        copy(source, target)
    except TimeoutError:
        return LATE
    except (PostrojError, OSError) as error:
        log.error("cannot copy '%s' to '%s': %s", source, target, _reason(error))  # noqa: TRY400
        return NOT_COPIED
    return OK


def _reason(error: PostrojError | OSError) -> str:
    return error.reason if isinstance(error, PostrojError) else str(error)
