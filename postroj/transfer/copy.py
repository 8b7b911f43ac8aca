"""Copy files into a running guest and out of it, as a tar in a pipe.

Inside the guest its own tar does the work, confined to the guest. `unpack` does not trust what it
sends.
"""

from __future__ import annotations

import logging
import os
import posixpath
import re
import signal
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING

from postroj import process
from postroj.errors import GuestError, ImageError, UsageError
from postroj.streams import CHUNK, HEAD, STDIN, STDOUT, Feed, Tail, write_all
from postroj.transfer.unpack import FOLDER, Into, unpack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from postroj.container.guest import Guest

log = logging.getLogger(__name__)

IN_GUEST = re.compile(r"([a-z0-9][a-z0-9-]*):(.*)", re.DOTALL)
PIPE = "-"
"""Path of a tar on stdin or stdout."""
KINDS = 'for kind in L d e; do [ ! -$kind "$1" ] || printf $kind; done'
"""Prints letters of test(1) that hold for a path: link, directory, existing."""
CREATE = ("tar", "--create", "--format=posix", "--numeric-owner", "--no-unquote")
AS_ROOT = ("--owner=0", "--group=0")
EXTRACT = ("tar", "--extract", "--numeric-owner", "--preserve-permissions")
CHANGED = 1
"""Status of a tar that read a file during a write; the archive is complete."""
NOT_THERE = (126, 127)
"""Statuses for a program that cannot be started in a guest."""


@dataclass(frozen=True)
class Place:
    """Source or target of a copy."""

    guest: str
    """The name of a guest; '' for the host."""
    path: str
    """The path as typed; in a guest it starts at the root directory."""

    def __str__(self) -> str:
        return f"{self.guest}:{self.path}" if self.guest else self.path

    @property
    def name(self) -> str:
        """The last part of the path; '' for a root directory."""
        return posixpath.basename(posixpath.abspath(self.path))

    @property
    def is_content(self) -> bool:
        """Whether the contents of a folder are meant, not the folder."""
        return self.path.endswith("/.") or not self.name

    @property
    def is_folder(self) -> bool:
        """Whether the path can only be a folder."""
        return self.path.endswith("/") or self.is_content


def place(text: str) -> Place:
    """Parse `GUEST:PATH` or a host path, which needs a leading `/` or `.` if it has a colon."""
    if not (found := IN_GUEST.fullmatch(text)):
        return Place("", text)
    return Place(found[1], f"/{found[2].lstrip('/')}")


def copy_out(guest: Guest, source: Place, target: str, *, owners: bool = True) -> None:
    """Copy a file or folder of a guest to the host, or write a tar of it to stdout.

    Without `owners` all that is written on the host belongs to us.

    :raises UsageError: if the source or the target folder does not exist.
    :raises GuestError: if tar fails, the guest ends meanwhile, or sends something else.
    """
    kinds = _kinds(guest, source.path)
    is_folder = "d" in kinds and ("L" not in kinds or source.is_folder)
    if not kinds or (source.is_folder and not is_folder):
        raise _no_such(str(source), folder=bool(kinds))
    above, name = posixpath.split(posixpath.normpath(source.path))
    what = [f"--directory={above}", "--", name or "."]
    if target == PIPE:
        _relay(guest, [*CREATE, "--file=-", *what], Feed(), lambda chunk: write_all(STDOUT, chunk))
        return
    if is_folder:
        what = [f"--directory={source.path}", "--", "."]
    with (
        _folder_for(source, target, is_folder=is_folder) as into,
        _tar(guest, [*CREATE, "--file=-", *what], process.PIPE) as child,
    ):
        assert child.stdin and child.stdout
        child.stdin.close()
        with child.stdout as pipe:
            try:
                unpacked = unpack(pipe, replace(into, keeps_owners=owners))
            except ImageError:  # the tar is truncated, perhaps because the guest ended
                guest.require()
                raise
            while pipe.read(CHUNK):
                pass
    if not unpacked.members:
        message = "the guest sent nothing"
        raise GuestError(message)
    for name in unpacked.skipped:
        log.warning("skipped %s, which is a device or a pipe", name)


def copy_in(guest: Guest, source: str, target: Place, *, owners: bool = True) -> None:
    """Copy a file or folder of the host into a guest, or unpack a tar from stdin there.

    Without `owners` a file or folder belongs to the guest's root.

    :raises UsageError: if the source or the target folder does not exist.
    :raises GuestError: if tar fails, or the guest ends meanwhile.
    """
    kinds = _kinds(guest, target.path)
    if source == PIPE:
        if "d" not in kinds:
            raise _no_such(str(target), folder=True)
        argv = [*EXTRACT, "--file=-", f"--directory={target.path}"]
        _relay(guest, argv, Feed(descriptor=STDIN), lambda chunk: None)
        return
    what = Place("", source)
    path = Path(source)
    is_folder = path.is_dir() and (not path.is_symlink() or what.is_folder)
    if not os.path.lexists(source) or (what.is_folder and not is_folder):
        raise _no_such(source, folder=os.path.lexists(source))
    end = target.path
    if "d" in kinds and not (is_folder and what.is_content):
        end = posixpath.join(end, what.name)
        kinds = _kinds(guest, end)
    elif target.is_folder and not is_folder:
        raise _no_such(str(target), folder=True)
    if kinds and is_folder is not ("d" in kinds):
        raise _in_the_way(str(Place(target.guest, end)), is_folder=is_folder)
    above, name = posixpath.split(posixpath.normpath(end))
    if "d" not in _kinds(guest, above):
        raise _no_such(str(Place(target.guest, above)), folder=True)
    if is_folder:
        argv = [*EXTRACT, "--file=-", f"--directory={end}"]
        if kinds:
            argv.append("--no-overwrite-dir")  # keeps owner and mode of the folder
        else:
            guest.run(["mkdir", "--", end])
        _send(guest, [f"--directory={path.absolute()}", "--", "."], argv, owners=owners)
    else:
        # `r` renames regular members only, not the targets of links
        escaped = re.sub(r"([\\&|])", r"\\\1", name)
        renamed = f"--transform=flags=r;s|^.*$|{escaped}|"
        whole = Path(os.path.abspath(source))  # noqa: PTH100 removes `..` without following links
        argv = [*EXTRACT, "--file=-", f"--directory={above}"]
        chosen = [renamed, f"--directory={whole.parent}", "--", f"./{whole.name}"]
        _send(guest, chosen, argv, owners=owners)


def _send(guest: Guest, what: Sequence[str], extract: Sequence[str], *, owners: bool) -> None:
    """Pipe a tar of host files into the guest's tar."""
    argv = [*CREATE, *(() if owners else AS_ROOT), "--file=-", *what]
    stdio = (process.DEVNULL, process.PIPE, process.PIPE)
    with (
        process.spawn(argv, stdio=stdio, env=process.environment()) as child,
        process.collecting_stderr(child) as complaints,
    ):
        assert child.stdout
        with child.stdout as pipe, _tar(guest, extract, pipe) as inner:
            pipe.close()  # only the guest's tar may hold it open
            assert inner.stdout
            inner.stdout.close()
        status = process.exit_status(child.wait())
    if status not in (0, CHANGED):
        message = "cannot read the files to copy"
        raise UsageError(message, evidence=_last_lines(complaints))


@contextmanager
def _tar(guest: Guest, argv: Sequence[str], stdin: int | IO[bytes]) -> Iterator[process.Child]:
    """Run tar in a guest with pipes, and check its exit status when the context ends.

    Root in the guest could reopen a file of the host for writing, and open others of its file
    system by handle, open_by_handle_at(2).

    :raises GuestError: if tar fails.
    """
    with (
        guest.spawn(argv, (stdin, process.PIPE, process.PIPE)) as child,
        process.collecting_stderr(child) as complaints,
    ):
        yield child
        status = process.exit_status(child.wait())
    _require_success(guest, argv, status, complaints)


def _relay(guest: Guest, argv: Sequence[str], stdin: Feed, stdout: Callable[[bytes], None]) -> None:
    """Run tar in a guest, with a feed and a sink of ours.

    :raises GuestError: if tar fails.
    """
    complaints = Tail(first=HEAD)
    with guest.spawn(argv, process.STDIO) as child:
        status = process.relay(child, stdin=stdin, stdout=stdout, stderr=complaints)
    _require_success(guest, argv, status, complaints)


def _require_success(guest: Guest, argv: Sequence[str], status: int, complaints: Tail) -> None:
    """Raise an error if a tar that ran in a guest has failed.

    :raises GuestError: then.
    """
    if status in (0, 128 + signal.SIGPIPE) or (status == CHANGED and "--create" in argv):
        return
    guest.require()
    message = f"tar in the guest exited with status {status}"
    if status in NOT_THERE:
        message = "the guest has no tar, which `postroj cp` needs"
    raise GuestError(message, evidence=_last_lines(complaints))


def _last_lines(complaints: Tail) -> str:
    return process.last_lines(bytes(complaints).decode(errors="replace"))


def _kinds(guest: Guest, path: str) -> str:
    """Return the letters of `KINDS` for a path in a guest; '' if it does not exist."""
    # `:` hides the status of the last test
    return guest.run(["/bin/sh", "-c", f"{KINDS}; :", "sh", path]).text


@contextmanager
def _folder_for(source: Place, target: str, *, is_folder: bool) -> Iterator[Into]:
    """Yield the host folder to unpack into."""
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
    """Yield a subfolder, created if it does not exist."""
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
    return UsageError(f"'{text}' {'is not a folder' if folder else 'does not exist'}")


def _in_the_way(text: str, *, is_folder: bool) -> UsageError:
    what = (
        "is not a folder, but the source is" if is_folder else "is a folder, but the source is not"
    )
    return UsageError(f"'{text}' {what}")
