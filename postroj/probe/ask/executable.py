"""Read from the beginning of a program what it needs to be executed, without running it."""

from __future__ import annotations

import re
import struct

ELF = b"\x7fELF"
WIDE = 2
"""ELFCLASS64, elf(5)."""
MISSING = re.compile(r"rror (?:while )?loading shared librar(?:ies|y):? (\S+): .*No such file")
"""What the loaders of glibc and musl print."""
NAMED = re.compile(r"(?<![\w.-])/(?:usr/)?(?:local/)?(?:s?bin|libexec|lib/[\w.+-]+)/[\w.+-]+")
ASSIGNED = re.compile(
    r"^\s*(?P<name>\w+)=(?P<quote>[\"']?)(?P<value>[\w./+-]+)(?P=quote)\s*$", re.M
)
INTERPRETER_HEADER = 3
"""PT_INTERP, elf(5)."""


def interpreter(head: bytes) -> tuple[str, str]:
    """Return the interpreter of a program that begins with these bytes, and its first argument.

    That is what a `#!` line names, or the dynamic loader of an ELF file; '' if there is none, or if
    it cannot be told.
    """
    if head.startswith(b"#!"):
        line = head[2:].partition(b"\n")[0].partition(b"\0")[0].decode(errors="replace").strip()
        path, _, rest = line.partition(" ")
        return path.strip(), rest.strip()
    try:
        return (_loader(head), "") if head.startswith(ELF) else ("", "")
    except (struct.error, IndexError, OverflowError):
        return "", ""


def _loader(head: bytes) -> str:
    """Read the path of the dynamic loader from the program headers, elf(5)."""
    is_wide, order = head[4] == WIDE, "<" if head[5] == 1 else ">"
    start = struct.unpack_from(f"{order}Q" if is_wide else f"{order}I", head, 32 if is_wide else 28)
    size, count = struct.unpack_from(f"{order}HH", head, 54 if is_wide else 42)
    for number in range(count):
        at = start[0] + number * size
        if struct.unpack_from(f"{order}I", head, at)[0] != INTERPRETER_HEADER:
            continue
        if is_wide:
            offset, _, _, length = struct.unpack_from(f"{order}4Q", head, at + 8)
        else:
            offset, _, _, length = struct.unpack_from(f"{order}4I", head, at + 4)
        path: bytes = head[offset : offset + length]
        return path.partition(b"\0")[0].decode(errors="replace") if len(path) == length else ""
    return ""


def sought(path: str, argument: str) -> str:
    """Return the program that `env` searches for a script; '' if its interpreter is not `env`."""
    if path.rpartition("/")[2] != "env":
        return ""
    words = [word for word in argument.split() if not word.startswith("-") and "=" not in word]
    return words[0] if words and "/" not in words[0] else ""


def lacks(listing: str) -> str:
    """Return the first library or version that a dynamic loader did not find, as it names them."""
    if match := MISSING.search(listing):
        return f"the library '{match[1]}'"
    if match := re.search(r"version [`'](\S+)' not found", listing):
        return f"the version '{match[1]}' of a library"
    return ""


def is_loader(interpreter: str) -> bool:
    """Whether this is a dynamic loader that lists the libraries of a program, ld.so(8)."""
    return interpreter.rpartition("/")[2].startswith("ld-")


def named_programs(script: str) -> list[str]:
    """Return the paths of programs that a shell script names, also with its variables in them."""
    values = {match["name"]: match["value"] for match in ASSIGNED.finditer(script)}
    text = re.sub(r"\$(?:(\w+)|\{(\w+)\})", lambda m: values.get(m[1] or m[2], m[0]), script)
    return list(dict.fromkeys(NAMED.findall(text)))
