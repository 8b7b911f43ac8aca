"""Files into a guest that runs, and out of it, as a tar in a pipe.

The guest's side is done by the tar of the guest, which sees nothing but the guest. What it sends is
unpacked by `unpack`, which does not trust it.
"""

from __future__ import annotations

import logging
import os
import posixpath
import re
import signal
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING

from postroj import process
from postroj.errors import GuestError, ImageError, UsageError
from postroj.streams import CHUNK, STDIN, STDOUT
from postroj.transfer.unpack import FOLDER, Into, unpack

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from postroj.container.guest import Guest

log = logging.getLogger(__name__)

IN_GUEST = re.compile(r"([a-z0-9][a-z0-9-]*):(.*)", re.DOTALL)
PIPE = "-"
"""Stands for a tar on stdin or stdout."""
LOOK = 'for kind in L d e; do [ ! -$kind "$1" ] || printf $kind; done'
"""Says of a path in a guest what test(1) knows of it."""
CREATE = ("tar", "--create", "--format=posix", "--numeric-owner", "--no-unquote")
EXTRACT = ("tar", "--extract", "--numeric-owner", "--preserve-permissions")
CHANGED = 1
"""Status of a tar that read a file while somebody wrote it; it has all the same what it read."""
NOT_THERE = (126, 127)
"""What the ways into a guest end with when they cannot start a program."""


@dataclass(frozen=True)
class Place:
    """One side of a copy."""

    guest: str
    """The name of a guest; '' for the host."""
    path: str
    """As it was typed; in a guest it begins at its root directory."""

    def __str__(self) -> str:
        return f"{self.guest}:{self.path}" if self.guest else self.path

    @property
    def name(self) -> str:
        """What it is called; '' for a root directory."""
        return posixpath.basename(posixpath.abspath(self.path))

    @property
    def is_content(self) -> bool:
        """Whether it stands for what is in a folder, and not for the folder."""
        return self.path.endswith("/.") or not self.name

    @property
    def is_folder(self) -> bool:
        """Whether only a folder can be meant."""
        return self.path.endswith("/") or self.is_content


def place(text: str) -> Place:
    """Read `GUEST:PATH`, or a path of the host; one with a colon begins with a slash or a dot."""
    if not (found := IN_GUEST.fullmatch(text)):
        return Place("", text)
    return Place(found[1], f"/{found[2].lstrip('/')}")


def copy_out(guest: Guest, source: Place, target: str) -> None:
    """Copy a file or a folder of a guest to the host, or a tar of it to stdout.

    :raises UsageError: if there is no such source, or no folder to put it into.
    :raises GuestError: if the guest cannot, ends meanwhile, or sends what was not asked for.
    """
    kinds = _look(guest, source.path)
    is_folder = "d" in kinds and ("L" not in kinds or source.is_folder)
    if not kinds or (source.is_folder and not is_folder):
        raise _no_such(str(source), folder=bool(kinds))
    above, name = posixpath.split(posixpath.normpath(source.path))
    what = [f"--directory={above}", "--", name or "."]
    if target == PIPE:
        with _tar(guest, [*CREATE, "--file=-", *what], process.DEVNULL, STDOUT):
            return
    if is_folder:
        what = [f"--directory={source.path}", "--", "."]
    with (
        _folder_for(source, target, is_folder=is_folder) as into,
        _tar(guest, [*CREATE, "--file=-", *what], process.DEVNULL, process.PIPE) as child,
    ):
        assert child.stdout
        with child.stdout as pipe:
            try:
                unpacked = unpack(pipe, into)
            except ImageError:  # it was cut off, perhaps since the guest was
                guest.require()
                raise
            while pipe.read(CHUNK):
                pass
    if not unpacked.members:
        message = "the guest sent nothing"
        raise GuestError(message)
    for name in unpacked.passed_over:
        log.warning("%s is no file, and was not copied", name)


def copy_in(guest: Guest, source: str, target: Place) -> None:
    """Copy a file or a folder of the host into a guest, or unpack a tar from stdin there.

    :raises UsageError: if there is no such source, or no folder to put it into.
    :raises GuestError: if the guest cannot, or ends meanwhile.
    """
    kinds = _look(guest, target.path)
    if source == PIPE:
        if "d" not in kinds:
            raise _no_such(str(target), folder=True)
        with _tar(guest, [*EXTRACT, "--file=-", f"--directory={target.path}"], STDIN, STDOUT):
            return
    what = Place("", source)
    path = Path(source)
    is_folder = path.is_dir() and (not path.is_symlink() or what.is_folder)
    if not os.path.lexists(source) or (what.is_folder and not is_folder):
        raise _no_such(source, folder=os.path.lexists(source))
    end = target.path
    if "d" in kinds and not (is_folder and what.is_content):
        end = posixpath.join(end, what.name)
        kinds = _look(guest, end)
    elif target.is_folder and not is_folder:
        raise _no_such(str(target), folder=True)
    if kinds and is_folder is not ("d" in kinds):
        raise _in_the_way(str(Place(target.guest, end)), is_folder=is_folder)
    above, name = posixpath.split(posixpath.normpath(end))
    if "d" not in _look(guest, above):
        raise _no_such(str(Place(target.guest, above)), folder=True)
    if is_folder:
        argv = [*EXTRACT, "--file=-", f"--directory={end}"]
        if kinds:
            argv.append("--no-overwrite-dir")  # it keeps the owner and the mode that it has
        else:
            guest.run(["mkdir", "--", end])
        _send(guest, [f"--directory={path.absolute()}", "--", "."], argv)
    else:
        # not in a link's target: `r` stands for names of regular members
        escaped = re.sub(r"([\\&|])", r"\\\1", name)
        renamed = f"--transform=flags=r;s|^.*$|{escaped}|"
        whole = Path(os.path.abspath(source))  # noqa: PTH100 which leaves no `..`, and follows no link
        argv = [*EXTRACT, "--file=-", f"--directory={above}"]
        _send(guest, [renamed, f"--directory={whole.parent}", "--", f"./{whole.name}"], argv)


def _send(guest: Guest, what: Sequence[str], extract: Sequence[str]) -> None:
    """Pipe a tar of the host into the guest's."""
    with TemporaryFile() as complaints:
        argv = [*CREATE, "--file=-", *what]
        env = process.environment()
        child = process.spawn(argv, stdio=(process.DEVNULL, process.PIPE, complaints), env=env)
        try:
            assert child.stdout
            with child.stdout as pipe, _tar(guest, extract, pipe, process.DEVNULL):
                pipe.close()  # the guest's tar has it, and is the only one who does
            status = process.exit_status(child.wait())
        finally:
            process.kill_group(child)
        if status not in (0, CHANGED):
            complaints.seek(0)
            said = process.last_lines(complaints.read().decode(errors="replace"))
            message = "the files to copy could not be read"
            raise UsageError(message, evidence=said)


@contextmanager
def _tar(
    guest: Guest, argv: Sequence[str], stdin: int | IO[bytes], stdout: int
) -> Iterator[process.Child]:
    """Run tar in a guest while the context lasts; it must end well.

    :raises GuestError: if it did not.
    """
    with TemporaryFile() as complaints:
        child = guest.spawn(argv, (stdin, stdout, complaints))
        try:
            yield child
            status = process.exit_status(child.wait())
        finally:
            process.kill_group(child)
        if status in (0, 128 + signal.SIGPIPE) or (status == CHANGED and "--create" in argv):
            return
        guest.require()
        complaints.seek(0)
        said = process.last_lines(complaints.read().decode(errors="replace"))
        message = f"tar in the guest ended with status {status}"
        if status in NOT_THERE:
            message = "the guest has no tar, which copies its files"
        raise GuestError(message, evidence=said)


def _look(guest: Guest, path: str) -> str:
    """Return letters of what a path in a guest is, of `LOOK`; none if there is nothing."""
    # the last `[` answers for the loop, whatever it says
    return guest.run(["/bin/sh", "-c", f"{LOOK}; :", "sh", path]).text


@contextmanager
def _folder_for(source: Place, target: str, *, is_folder: bool) -> Iterator[Into]:
    """Yield the folder to unpack into."""
    path = Path(target)
    if path.is_dir():
        inner = "" if is_folder and source.is_content else source.name
        if not is_folder and (path / inner).is_dir() and not (path / inner).is_symlink():
            raise _in_the_way(str(path / inner), is_folder=False)
    elif path.exists() and is_folder:
        raise _in_the_way(target, is_folder=True)
    elif target.endswith(("/", "/.")) and not is_folder:
        raise _no_such(target, folder=True)
    else:
        path, inner = path.absolute().parent, path.name
    try:
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        raise _no_such(str(path), folder=True) from None
    try:
        if not is_folder:
            yield Into(folder, alone=inner)
        elif not inner:
            yield Into(folder)
        else:
            with _within(folder, inner, path) as into:
                yield into
    finally:
        os.close(folder)


@contextmanager
def _within(above: int, name: str, path: Path) -> Iterator[Into]:
    """Yield a folder in another one, made if there is none."""
    is_fresh = False
    with suppress(FileExistsError):
        os.mkdir(name, 0o700, dir_fd=above)
        is_fresh = True
    try:
        folder = os.open(name, FOLDER, dir_fd=above)
    except OSError:
        raise _in_the_way(str(path / name), is_folder=True) from None
    try:
        yield Into(folder, is_fresh=is_fresh)
    finally:
        os.close(folder)


def _no_such(text: str, *, folder: bool) -> UsageError:
    return UsageError(f"'{text}' {'is no folder' if folder else 'does not exist'}")


def _in_the_way(text: str, *, is_folder: bool) -> UsageError:
    kinds = ("no folder", "a folder") if is_folder else ("a folder", "none")
    return UsageError(f"'{text}' is {kinds[0]}, and what is to be copied is {kinds[1]}")
