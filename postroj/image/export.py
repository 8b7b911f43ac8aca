"""A stored image as a file for other tools: a tar, a squashfs, or a disk with one partition.

An image of several layers is put together as a guest sees it, in a mount namespace of its own,
which takes root. One of a single file is read without a right.
"""

from __future__ import annotations

import os
import shlex
import signal
import uuid
from contextlib import ExitStack, contextmanager
from enum import StrEnum
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING

from postroj import locking, paths, process
from postroj.errors import CommandError, HostError, ImageError, UsageError
from postroj.image.outfile import placed
from postroj.image.store import store
from postroj.image.store.record import open_file
from postroj.image.unpack import pack
from postroj.image.unpack.decompress import confined
from postroj.image.unpack.disk import ROOT_TYPES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from postroj.console import Progress
    from postroj.model import Image


class Format(StrEnum):
    """What an image can be exported as."""

    TAR = "tar"
    TAR_ZST = "tar.zst"
    SQUASHFS = "squashfs"
    DISK = "disk"
    """A GPT disk image with one root partition."""


SUFFIXES = {
    ".tar": Format.TAR,
    ".tar.zst": Format.TAR_ZST,
    ".tzst": Format.TAR_ZST,
    ".squashfs": Format.SQUASHFS,
    ".sqfs": Format.SQUASHFS,
    ".raw": Format.DISK,
    ".img": Format.DISK,
}

CHUNK = 1 << 20
START = 1 << 20
"""Byte at which the partition begins, as every tool for disks has it."""
END = 1 << 20
"""Bytes behind it, for the second table."""
READ_ONLY = 60
"""Bit of a partition that is not to be mounted for writing: a squashfs cannot be."""


def format_of(name: str) -> Format:
    """Return the format that the name of a file asks for.

    :raises UsageError: if it asks for none.
    """
    for suffix, format_ in SUFFIXES.items():
        if name.endswith(suffix):
            return format_
    message = f"the name '{name}' does not tell a format"
    raise UsageError(message, hint=f"`--format` does, or a name that ends in {', '.join(SUFFIXES)}")


def export(
    image: Image, path: Path, format_: Format, progress: Progress, *, replace: bool = False
) -> int:
    """Write an image to a file; its size in bytes.

    :raises UsageError: if the file is there and not to be replaced, or cannot be made.
    :raises HostError: if this host lacks a tool, or it takes root and we are not.
    :raises ImageError: if the image cannot be read, or its disk is full.
    """
    with store.hold(image) as held, placed(path, replace=replace) as descriptor:
        write(held, descriptor, format_, progress)
        return os.lseek(descriptor, 0, os.SEEK_END)


def write(image: Image, descriptor: int, format_: Format, progress: Progress) -> None:
    """Write an image, which is held, to a descriptor; a disk or a squashfs only to a file."""
    match format_:
        case Format.TAR | Format.TAR_ZST:
            _write_tar(image, descriptor, progress, compressed=format_ is Format.TAR_ZST)
        case Format.SQUASHFS:
            with _as_one_file(image, progress) as source:
                _copy(source, descriptor, progress)
        case Format.DISK:
            with _as_one_file(image, progress) as source:
                _write_disk(source, descriptor, image.architecture, progress)


def _write_tar(image: Image, descriptor: int, progress: Progress, *, compressed: bool) -> None:
    with _tar(image) as tar:
        if compressed:
            argv = ["zstd", "--quiet", "--threads=0", "--stdout"]
            with _tool(argv, stdin=process.PIPE, stdout=descriptor) as zstd:
                assert zstd.stdin
                with zstd.stdin:
                    _pass_on(tar, zstd.stdin.write, progress)
        else:
            with open(descriptor, "wb", buffering=0, closefd=False) as out:
                _pass_on(tar, out.write, progress)


def _pass_on(
    source: IO[bytes], write_some: Callable[[memoryview], int], progress: Progress
) -> None:
    """Carry all bytes over, as many at a time as the other side takes."""
    done = 0
    while chunk := source.read(CHUNK):
        rest = memoryview(chunk)
        while rest:
            rest = rest[write_some(rest) :]
        done += len(chunk)
        progress.reach(done, 0)


@contextmanager
def _tar(image: Image) -> Iterator[IO[bytes]]:
    """Yield the tar of what a guest of the image sees."""
    with ExitStack() as stack:
        if len(image.layers) == 1:
            descriptor = open_file(image.layers[0])
            stack.callback(os.close, descriptor)
            argv = confined(["sqfs2tar", "--root-becomes=.", f"/proc/self/fd/{descriptor}"])
            tool = _tool(argv, stdin=process.DEVNULL, stdout=process.PIPE, pass_fds=[descriptor])
        else:
            argv = stack.enter_context(_merged(image.layers))
            tool = _tool(argv, stdin=process.DEVNULL, stdout=process.PIPE)
        child = stack.enter_context(tool)
        assert child.stdout
        yield stack.enter_context(child.stdout)


@contextmanager
def _merged(layers: Sequence[Path]) -> Iterator[list[str]]:
    """Yield the command line that writes the tar of several layers, one on top of the other."""
    if os.geteuid() != 0:
        message = "this image has several layers, which takes root to put together"
        raise HostError(message, hint="run the same command with `sudo`")
    with locking.Claim.make(paths.state_dir(), "export") as claim:
        yield merge_argv(layers, claim.path)


def merge_argv(layers: Sequence[Path], folder: Path) -> list[str]:
    """Return the command line that mounts layers in a namespace of its own and writes their tar.

    All of it is gone with its process, which does not outlive ours.
    """
    lowers = [f"lower{number}" for number in range(len(layers))]
    overlay = f"ro,lowerdir={':'.join(reversed(lowers))},redirect_dir=on"
    steps = [
        ["mount", "-t", "tmpfs", "-o", "mode=0700", "tmpfs", str(folder)],
        ["cd", str(folder)],
        ["mkdir", "root", *lowers],
        *(
            ["mount", "-t", "squashfs", "-o", "loop,ro,nodev", str(layer), lower]
            for layer, lower in zip(layers, lowers, strict=True)
        ),
        ["mount", "-t", "overlay", "-o", overlay, "overlay", "root"],
        ["exec", *pack.tar_argv("root")],
    ]
    return [
        *("setpriv", "--pdeathsig", "KILL", "--"),
        *process.CONTAINED,
        *("sh", "-euc", "\n".join(map(shlex.join, steps))),
    ]


@contextmanager
def _as_one_file(image: Image, progress: Progress) -> Iterator[int]:
    """Yield a descriptor of a squashfs file that has all of an image."""
    with ExitStack() as stack:
        if len(image.layers) == 1:
            descriptor = open_file(image.layers[0])
            stack.callback(os.close, descriptor)
            yield descriptor
            return
        progress.describe("one layer of several")
        with store.trouble():
            folder = stack.enter_context(locking.Claim.make(store.partial_dir(), "export")).path
        target = folder / "image.squashfs"
        pack.squash_output(stack.enter_context(_merged(image.layers)), target)
        descriptor = os.open(target, os.O_RDONLY | os.O_CLOEXEC)
        stack.callback(os.close, descriptor)
        progress.describe("")
        yield descriptor


def _copy(source: int, target: int, progress: Progress) -> None:
    """Copy a file to where another one stands."""
    size = os.fstat(source).st_size
    done = 0
    while sent := os.sendfile(target, source, done, CHUNK):
        done += sent
        progress.reach(done, size)


def _write_disk(source: int, target: int, architecture: str, progress: Progress) -> None:
    """Write a disk image with a squashfs file in its root partition."""
    size = os.fstat(source).st_size
    os.ftruncate(target, START + -(-size // START) * START + END)
    # what is on the disk makes its ids, so that the same image is the same disk
    digest = os.pread(source, 4096, 0)
    text = table(architecture, size, uuid.uuid5(uuid.NAMESPACE_OID, digest.hex()))
    argv = ["sfdisk", "--quiet", "--no-reread", "--no-tell-kernel", f"/proc/self/fd/{target}"]
    with _tool(argv, stdin=process.PIPE, stdout=process.DEVNULL, pass_fds=[target]) as sfdisk:
        assert sfdisk.stdin
        with sfdisk.stdin:
            sfdisk.stdin.write(text.encode())
    os.lseek(target, START, os.SEEK_SET)
    _copy(source, target, progress)


def table(architecture: str, size: int, identity: uuid.UUID) -> str:
    """Return what sfdisk(8) is to make: a partition of `size` bytes that is found by its type.

    :raises UsageError: if there is no type for the architecture.
    """
    types = {name: kind for kind, name in ROOT_TYPES.items()}
    if architecture not in types:
        message = f"there is no type of root partition for the architecture '{architecture}'"
        raise UsageError(message, hint="`--format squashfs` needs none")
    partition = uuid.uuid5(identity, "root")
    return (
        f"label: gpt\nlabel-id: {identity}\n"
        f"start={START // 512}, size={-(-size // 512)}, type={types[architecture]},"
        f' uuid={partition}, name="root", attrs="GUID:{READ_ONLY}"\n'
    )


@contextmanager
def _tool(
    argv: Sequence[str],
    *,
    stdin: int,
    stdout: int,
    pass_fds: Sequence[int] = (),
) -> Iterator[process.Child]:
    """Run a tool while the context lasts; it must end well, or the context fails.

    :raises ImageError: if it did not.
    """
    with TemporaryFile() as complaints:
        env = process.environment()
        stdio = (stdin, stdout, complaints)
        with process.spawn(argv, stdio=stdio, env=env, pass_fds=pass_fds) as child:
            failure: BrokenPipeError | None = None
            try:
                yield child
            except BrokenPipeError as error:  # since the tool that we write to ended; it says why
                if child.stdin is None:
                    raise
                failure = error
            status = process.exit_status(child.wait())
        if status and not (failure and status == 128 + signal.SIGPIPE):
            complaints.seek(0)
            said = complaints.read().decode(errors="replace")
            failed = CommandError(argv, status, process.last_lines(said))
            message = "the image could not be exported"
            raise ImageError(message, evidence=failed.reason)
        if failure:
            raise failure
