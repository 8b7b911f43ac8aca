"""The one error tree and the exit status of every member.

Everything that a user can cause or meet is raised as a `PostrojError`: one sentence, the evidence,
a hint. Nothing here prints or exits; only `postroj.cli` does.

    PostrojError            4  host, image or guest failed: the package was not judged
    ├── UsageError          2  wrong usage
    ├── HostError           4  this host lacks something that `postroj doctor` knows of
    ├── CommandError        4  a tool of the host failed
    │   └── CommandTimeout  4
    ├── DownloadError       4  a URL could not be fetched, or its content is not what was pinned
    ├── ImageError          4  an image could not be built, or is not to be had
    │   └── VerificationError 4 what was fetched is not what somebody vouched for
    ├── GuestError          4  a guest did not start, or ended
    │   └── GuestLost       4  it ended by what went on in it; 1 where a package did that
    └── PackageError        1  the package is to blame
    Interrupted       128 + N  a signal asked us to stop (130 for Ctrl-C)
"""

from __future__ import annotations

import signal
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class ExitStatus(IntEnum):
    """What the process says at its end; the documented table of the command line."""

    PASSED = 0
    FAILED = 1
    USAGE = 2
    NOTHING_TESTED = 3
    ERROR = 4
    RUN_FAILED = 125
    """`postroj run`, `shell` and `exec`: postroj failed, not the command (as docker has it)."""


class PostrojError(Exception):
    """One sentence what went wrong, its evidence, and the next thing to type."""

    exit_status: ExitStatus = ExitStatus.ERROR

    def __init__(self, message: str, *, evidence: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.evidence = evidence
        self.hint = hint

    @property
    def reason(self) -> str:
        """The sentence, and the evidence below it."""
        return "\n".join(part for part in (self.message, self.evidence) if part)


class UsageError(PostrojError):
    """What was typed cannot be done; nothing was started."""

    exit_status = ExitStatus.USAGE


class HostError(PostrojError):
    """This host lacks something."""

    def __init__(self, message: str, *, evidence: str = "", hint: str = "") -> None:
        hint = hint or "`sudo postroj doctor` shows what this host lacks, `--fix` installs it"
        super().__init__(message, evidence=evidence, hint=hint)


class CommandError(PostrojError):
    """A tool ended with a status that its caller did not expect."""

    def __init__(self, argv: Sequence[str], status: int, output: str, *, message: str = "") -> None:
        self.argv = tuple(argv)
        self.status = status
        self.output = output
        super().__init__(
            message or f"'{argv[0]}' ended with status {status}",
            evidence=output,
        )


class CommandTimeout(CommandError):
    """A tool did not end in the time it was given, and was killed."""

    def __init__(self, argv: Sequence[str], seconds: float, output: str) -> None:
        self.seconds = seconds
        message = f"'{argv[0]}' did not end within {seconds:g} s"
        super().__init__(argv, 128 + signal.SIGKILL, output, message=message)


class DownloadError(PostrojError):
    """A URL could not be fetched, or brought other bytes than were pinned."""


class ImageError(PostrojError):
    """An image could not be built, verified or found."""


class VerificationError(ImageError):
    """What was fetched is not what its publisher or the user vouched for.

    Nobody tries another source on it: that would help who meddled with the first.
    """


class GuestError(PostrojError):
    """A guest did not start, or ended before its time."""

    console = ""
    """What its console showed, where it is gone with the guest."""


class GuestLost(GuestError):
    """A guest that was ready ended by what went on in it: who was at work there did it.

    `output` is what the command had said that ended with it.
    """

    def __init__(
        self, message: str, *, evidence: str = "", hint: str = "", output: str = ""
    ) -> None:
        super().__init__(message, evidence=evidence, hint=hint)
        self.output = output


class PackageError(PostrojError):
    """The package under test is to blame."""

    exit_status = ExitStatus.FAILED


class Interrupted(KeyboardInterrupt):
    """A signal asked postroj to stop; clean-up runs on its way out."""

    def __init__(self, number: int = signal.SIGINT) -> None:
        super().__init__()
        self.exit_status = 128 + number
