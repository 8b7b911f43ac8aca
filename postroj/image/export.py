"""Export a stored image for other tools: as tar, squashfs, or disk with one partition.

An image of several layers is mounted as a guest sees it, in a private mount namespace, which needs
root, of the host or of a user namespace. A single layer is read without privileges.
"""

from __future__ import annotations

import os
import shlex
import signal
import uuid
from contextlib import ExitStack, contextmanager
from enum import StrEnum
from typing import IO, TYPE_CHECKING

from postroj import locking, paths, process, user
from postroj.errors import CommandError, ImageError, UsageError
from postroj.image.outfile import atomic_file
from postroj.image.store import os_errors, store
from postroj.image.store.record import open_file
from postroj.image.unpack import pack
from postroj.image.unpack.confine import TIED, confined
from postroj.image.unpack.disk import ROOT_TYPES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from postroj.console import Progress
    from postroj.model import Image


class Format(StrEnum):
    """Formats to export to."""

    TAR = "tar"
    TAR_ZST = "tar.zst"
    SQUASHFS = "squashfs"
    DISK = "disk"
    """A GPT disk with one root partition."""


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
"""Offset of the partition in bytes, the default of all partitioning tools."""
END = 1 << 20
"""Bytes behind the partition, for the backup table."""
READ_ONLY = 60
"""Attribute bit of a read-only partition, since a squashfs cannot be written."""


def format_of(name: str) -> Format:
    """Return the format that a file name implies.

    :raises UsageError: if it implies none.
    """
    for suffix, format_ in SUFFIXES.items():
        if name.endswith(suffix):
            return format_
    message = f"the name '{name}' implies no format"
    raise UsageError(message, hint=f"use `--format`, or a name that ends in {', '.join(SUFFIXES)}")


def export(
    image: Image, path: Path, format_: Format, progress: Progress, *, replace: bool = False
) -> int:
    """Write an image to a file and return its size in bytes.

    :raises UsageError: if the file exists and `replace` is not set, or cannot be created.
    :raises HostError: if this host lacks a tool.
    :raises ImageError: if the image cannot be read, or the disk is full.
    """
    with store.use(image) as current, atomic_file(path, replace=replace) as descriptor:
        write(current, descriptor, format_, progress)
        return os.lseek(descriptor, 0, os.SEEK_END)


def write(image: Image, descriptor: int, format_: Format, progress: Progress) -> None:
    """Write an image in use to a descriptor, which must be a file for squashfs and disk."""
    match format_:
        case Format.TAR | Format.TAR_ZST:
            _write_tar(image, descriptor, progress, compressed=format_ is Format.TAR_ZST)
        case Format.SQUASHFS:
            with _single_squashfs(image, progress) as source:
                _copy(source, descriptor, progress)
        case Format.DISK:
            with _single_squashfs(image, progress) as source:
                _write_disk(source, descriptor, image.architecture, progress)


def _write_tar(image: Image, descriptor: int, progress: Progress, *, compressed: bool) -> None:
    with _open_tar(image) as tar:
        if compressed:
            argv = ["zstd", "--quiet", "--threads=0", "--stdout"]
            with _running_tool(argv, stdin=process.PIPE, stdout=descriptor) as zstd:
                assert zstd.stdin
                with zstd.stdin:
                    _copy_stream(tar, zstd.stdin.write, progress)
        else:
            with open(descriptor, "wb", buffering=0, closefd=False) as out:
                _copy_stream(tar, out.write, progress)


def _copy_stream(
    source: IO[bytes], write_some: Callable[[memoryview], int], progress: Progress
) -> None:
    """Copy all bytes, as many at a time as the writer accepts."""
    done = 0
    while chunk := source.read(CHUNK):
        rest = memoryview(chunk)
        while rest:
            rest = rest[write_some(rest) :]
        done += len(chunk)
        progress.reach(done, 0)


@contextmanager
def _open_tar(image: Image) -> Iterator[IO[bytes]]:
    """Yield a tar of the image as a guest sees it."""
    with ExitStack() as stack:
        if len(image.layers) == 1:
            descriptor = open_file(image.layers[0])
            stack.callback(os.close, descriptor)
            argv = confined(["sqfs2tar", "--root-becomes=.", f"/proc/self/fd/{descriptor}"])
            tool = _running_tool(
                argv, stdin=process.DEVNULL, stdout=process.PIPE, pass_fds=[descriptor]
            )
        else:
            argv = stack.enter_context(_merged(image.layers))
            tool = _running_tool(argv, stdin=process.DEVNULL, stdout=process.PIPE)
        child = stack.enter_context(tool)
        assert child.stdout
        yield stack.enter_context(child.stdout)


@contextmanager
def _merged(layers: Sequence[Path]) -> Iterator[list[str]]:
    """Yield the command line that writes the tar of merged layers."""
    with locking.Claim.make(paths.state_dir(), "export") as claim:
        yield merge_argv(layers, claim.path, root=user.is_root())


def merge_argv(layers: Sequence[Path], folder: Path, *, root: bool) -> list[str]:
    """Return the command line that mounts layers in a private namespace and writes their tar.

    The mounts vanish with its process, which does not outlive ours. `root` is whether that is root
    of the host.
    """
    lowers = [f"lower{number}" for number in range(len(layers))]
    options = "redirect_dir=on" if root else "userxattr"
    overlay = f"ro,lowerdir={':'.join(reversed(lowers))},{options}"
    mount = (
        ["mount", "-t", "squashfs", "-o", "loop,ro,nodev"]
        if root
        else ["sh", str(paths.SQUASHFUSE)]
    )
    steps = [
        ["mount", "-t", "tmpfs", "-o", "mode=0700", "tmpfs", str(folder)],
        ["cd", str(folder)],
        ["mkdir", "root", *lowers],
        *([*mount, str(layer), lower] for layer, lower in zip(layers, lowers, strict=True)),
        ["mount", "-t", "overlay", "-o", overlay, "overlay", "root"],
        ["exec", *pack.tar_argv("root")],
    ]
    return [
        *TIED,
        *process.CONTAINED,
        *("sh", "-euc", "\n".join(map(shlex.join, steps))),
    ]


@contextmanager
def _single_squashfs(image: Image, progress: Progress) -> Iterator[int]:
    """Yield a descriptor of a single squashfs file with the whole image."""
    with ExitStack() as stack:
        if len(image.layers) == 1:
            descriptor = open_file(image.layers[0])
            stack.callback(os.close, descriptor)
            yield descriptor
            return
        progress.describe("merge layers")
        with os_errors.explained():
            folder = stack.enter_context(locking.Claim.make(store.partial_dir(), "export")).path
        target = folder / "image.squashfs"
        pack.squash_output(stack.enter_context(_merged(image.layers)), target)
        descriptor = os.open(target, os.O_RDONLY | os.O_CLOEXEC)
        stack.callback(os.close, descriptor)
        progress.describe("")
        yield descriptor


def _copy(source: int, target: int, progress: Progress) -> None:
    """Copy a file to the current position of another."""
    size = os.fstat(source).st_size
    done = 0
    while sent := os.sendfile(target, source, done, CHUNK):
        done += sent
        progress.reach(done, size)


def _write_disk(source: int, target: int, architecture: str, progress: Progress) -> None:
    """Write a disk with a squashfs file in its root partition."""
    size = os.fstat(source).st_size
    os.ftruncate(target, START + -(-size // START) * START + END)
    # The content determines the ids, so that exporting an image twice gives the same disk.
    digest = os.pread(source, 4096, 0)
    text = partition_table(architecture, size, uuid.uuid5(uuid.NAMESPACE_OID, digest.hex()))
    argv = ["sfdisk", "--quiet", "--no-reread", "--no-tell-kernel", f"/proc/self/fd/{target}"]
    with _running_tool(
        argv, stdin=process.PIPE, stdout=process.DEVNULL, pass_fds=[target]
    ) as sfdisk:
        assert sfdisk.stdin
        with sfdisk.stdin:
            sfdisk.stdin.write(text.encode())
    os.lseek(target, START, os.SEEK_SET)
    _copy(source, target, progress)


def partition_table(architecture: str, size: int, identity: uuid.UUID) -> str:
    """Return the input of sfdisk(8) for one root partition of `size` bytes.

    :raises UsageError: if there is no partition type for the architecture.
    """
    types = {name: kind for kind, name in ROOT_TYPES.items()}
    if architecture not in types:
        message = f"there is no root partition type for the architecture '{architecture}'"
        raise UsageError(message, hint="use `--format squashfs`")
    partition = uuid.uuid5(identity, "root")
    return (
        f"label: gpt\nlabel-id: {identity}\n"
        f"start={START // 512}, size={-(-size // 512)}, type={types[architecture]},"
        f' uuid={partition}, name="root", attrs="GUID:{READ_ONLY}"\n'
    )


@contextmanager
def _running_tool(
    argv: Sequence[str],
    *,
    stdin: int,
    stdout: int,
    pass_fds: Sequence[int] = (),
) -> Iterator[process.Child]:
    """Run a tool while the context lasts, and check its status at the end.

    :raises ImageError: if the tool failed.
    """
    env = process.environment()
    stdio = (stdin, stdout, process.PIPE)
    with (
        process.spawn(argv, stdio=stdio, env=env, pass_fds=pass_fds) as child,
        process.collecting_stderr(child) as complaints,
    ):
        failure: BrokenPipeError | None = None
        try:
            yield child
        except BrokenPipeError as error:  # the tool has ended, and its status says why
            if child.stdin is None:
                raise
            failure = error
        status = process.exit_status(child.wait())
    if status and not (failure and status == 128 + signal.SIGPIPE):
        output = bytes(complaints).decode(errors="replace")
        failed = CommandError(argv, status, process.last_lines(output))
        message = "the image could not be exported"
        raise ImageError(message, evidence=failed.reason)
    if failure:
        raise failure
