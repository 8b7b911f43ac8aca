"""The error tree of postroj, with the exit status of each class.

Every failure that a user can cause or meet is a `PostrojError`: one sentence, evidence, a hint.
Nothing here prints or exits; only `postroj.cli` does.

    PostrojError            4  host, image or guest failed: the package was not judged
    ├── UsageError          2  wrong usage
    ├── NothingToTest       3  nothing that was given can be tested
    ├── HostError           4  this host lacks something, see `postroj doctor`
    ├── CommandError        4  a tool of the host failed
    │   └── CommandTimeout  4
    ├── DownloadError       4  a download failed, or its content is not what was pinned
    ├── ImageError          4  an image could not be built or is not available
    │   └── VerificationError 4 the content is not what its publisher signed or the user pinned
    ├── GuestError          4  a guest did not start, or ended early
    │   └── GuestLost       4  its own programs ended it; 1 if a package did
    └── PackageError        1  the package is to blame
    Interrupted       128 + N  a signal asked postroj to stop (130 for Ctrl-C)
"""

from __future__ import annotations

import copyreg
import signal
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class ExitStatus(IntEnum):
    """Exit status of postroj, as the command line documents it."""

    PASSED = 0
    FAILED = 1
    USAGE = 2
    NOTHING_TESTED = 3
    ERROR = 4
    RUN_FAILED = 125
    """`postroj run`, `shell` and `exec`: postroj failed, not the command, as in docker."""
    TESTBED_FAILED = 254
    """A command of autopkgtest in its testbed: postroj failed, as autopkgtest has it."""


class PostrojError(Exception):
    """A failure: one sentence, the evidence for it, and a hint what to type next."""

    exit_status: ExitStatus = ExitStatus.ERROR

    def __init__(self, message: str, *, evidence: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.evidence = evidence
        self.hint = hint

    def __reduce__(self) -> tuple[object, ...]:
        """Make a copy in another process without the arguments of a subclass, which differ."""
        return copyreg.__newobj__, (type(self), self.message), self.__dict__  # type: ignore[attr-defined]

    @property
    def reason(self) -> str:
        """The sentence, followed by the evidence."""
        return "\n".join(part for part in (self.message, self.evidence) if part)


class UsageError(PostrojError):
    """The command line cannot be carried out; nothing was started."""

    exit_status = ExitStatus.USAGE


class NothingToTest(PostrojError):
    """None of the files that were given can be tested on one of the images."""

    exit_status = ExitStatus.NOTHING_TESTED


class HostError(PostrojError):
    """This host lacks something; the default hint is `postroj doctor`."""

    def __init__(self, message: str, *, evidence: str = "", hint: str = "") -> None:
        hint = hint or "`postroj doctor` shows what this host lacks, `--fix` installs it"
        super().__init__(message, evidence=evidence, hint=hint)


class CommandError(PostrojError):
    """A tool ended with an unexpected status."""

    def __init__(self, argv: Sequence[str], status: int, output: str, *, message: str = "") -> None:
        self.argv = tuple(argv)
        self.status = status
        self.output = output
        super().__init__(
            message or f"'{argv[0]}' ended with status {status}",
            evidence=output,
        )


class CommandTimeout(CommandError):
    """A tool exceeded its time limit and was killed."""

    def __init__(
        self, argv: Sequence[str], seconds: float, output: str, *, silence: float | None = None
    ) -> None:
        self.seconds = seconds
        self.silence = seconds if silence is None else silence
        """Seconds since its last output."""
        message = f"'{argv[0]}' did not end within {seconds:g} s"
        super().__init__(argv, 128 + signal.SIGKILL, output, message=message)


class DownloadError(PostrojError):
    """A download failed, or its content differs from the pinned digest."""


class ImageError(PostrojError):
    """An image could not be built, verified or found."""


class VerificationError(ImageError):
    """The content is not what its publisher signed or the user pinned.

    No other source is tried after it: that would reward whoever tampered with the first.
    """


class GuestError(PostrojError):
    """A guest did not start, or ended early."""

    console = ""
    """Console output of the guest, if it is gone with the guest."""


class GuestLost(GuestError):
    """A guest that was ready ended; whoever was working in it is to blame.

    `output` is what the interrupted command had printed.
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
    """A signal asked postroj to stop; clean-up runs while this propagates."""

    def __init__(self, number: int = signal.SIGINT) -> None:
        super().__init__()
        self.exit_status = 128 + number
