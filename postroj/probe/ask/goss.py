"""Run goss in a guest, and take each of its results for a check.

goss lies with its files below `/run` in the guest, mounted from the host: nothing is installed, and
nothing is left behind. Its JSON is that of goss 0.3 and 0.4,
https://github.com/goss-org/goss/blob/master/resource/validate.go
"""

from __future__ import annotations

import json
import re
import struct
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from postroj.container.spec import Bind
from postroj.errors import UsageError
from postroj.process import last_lines
from postroj.verdict import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

    from postroj.container.guest import Guest
    from postroj.probe.ask.deadline import Deadline

FOLDER = PurePosixPath("/run/postroj/goss")
PROGRAM = FOLDER / "goss"
INCLUDES = re.compile(r"^\s*[\"']?gossfile[\"']?\s*:", re.MULTILINE)
"""How a file of goss names others, which lie beside it."""
INTERVAL = 1.0
"""Seconds between two runs."""
LIMIT = 16 << 20
"""Bytes of the output of goss."""
SKIPPED = 2
"""`result` of a test that was skipped, in goss 0.3."""
ELF = b"\x7fELF"
MACHINES = {3: "i686", 40: "armv7l", 62: "x86_64", 183: "aarch64", 243: "riscv64"}
"""Architectures by `e_machine`, elf(5)."""
ALSO = {"x86_64": ("i686",), "aarch64": ("armv7l",)}
"""Architectures whose programs another one runs as well."""


@dataclass(frozen=True, kw_only=True)
class Test:
    """The result of one test of goss."""

    subject: str
    outcome: Outcome
    reason: str
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Goss:
    """The program and its files on this host."""

    program: Path
    files: tuple[Path, ...]
    """Files with tests."""
    variables: tuple[Path, ...] = ()
    """Files with variables for the templates in the others."""

    @property
    def binds(self) -> tuple[Bind, ...]:
        """The mounts by which a guest sees them; a file that includes others comes with its folder.

        :raises UsageError: if a file cannot be read.
        """
        found = [(self.program, PROGRAM)]
        for file in self.files:
            place = self.place(file)
            found.append((file.parent, place.parent) if _includes(file) else (file, place))
        found += [(file, self.place(file)) for file in self.variables]
        return tuple(
            Bind(source=source.resolve(), target=str(target), read_only=True)
            for source, target in found
        )

    def place(self, file: Path) -> PurePosixPath:
        """Return where one of the files is in the guest."""
        return FOLDER / str((*self.files, *self.variables).index(file)) / file.name

    def argv(self, file: Path) -> list[str]:
        """Return the command that runs the tests of a file."""
        variables = [f"--vars={self.place(one)}" for one in self.variables]
        return [
            *(str(PROGRAM), f"--gossfile={self.place(file)}", *variables),
            *("validate", "--format", "json"),
        ]

    def require(self, machine: str) -> None:
        """Check that the program runs on an architecture, as `uname -m` has it.

        :raises UsageError: if it does not, or cannot be read.
        """
        built_for = architecture(_read(self.program, 64))
        if built_for not in ("", machine, *ALSO.get(machine, ())):
            message = f"'{self.program}' is built for {built_for}, and the guest is {machine}"
            raise UsageError(message, hint=f"`--goss PATH` names goss for {machine}")


def _includes(file: Path) -> bool:
    return bool(INCLUDES.search(_read(file, LIMIT).decode(errors="replace")))


def _read(file: Path, limit: int) -> bytes:
    try:
        with file.open("rb") as stream:
            return stream.read(limit)
    except OSError as error:
        message = f"'{file}' cannot be read"
        raise UsageError(message, evidence=str(error)) from None


def architecture(head: bytes) -> str:
    """Return the architecture of a program from its first bytes; '' for a script."""
    if head[:2] == b"#!":
        return ""
    if head[:4] != ELF or len(head) < 20:
        return "no Linux"
    order = "<" if head[5] == 1 else ">"
    (machine,) = struct.unpack_from(f"{order}H", head, 18)
    return MACHINES.get(machine, f"machine {machine} of ELF")


def check(
    guest: Guest, goss: Goss, file: Path, deadline: Deadline
) -> tuple[Outcome, str, list[Test]]:
    """Run the tests of a file until all pass or the deadline passes.

    Return the outcome and the reason if there is no test, and the tests.

    :raises CommandTimeout: if goss does not end.
    """
    while True:
        timeout = max(deadline.left, INTERVAL) / guest.slowness  # see `kinds.ask`
        done = guest.run(goss.argv(file), ok=range(256), timeout=timeout, limit=LIMIT)
        tests = parse(done.text)
        if tests is None:
            sentence = f"goss ended with status {done.status} and no results"
            return Outcome.ERROR, f"{sentence}\n{last_lines(done.output)}".rstrip(), []
        if not any(test.outcome.is_bad for test in tests) or not deadline.wait(INTERVAL):
            return Outcome.SKIP, "it has no tests", tests


def parse(text: str) -> list[Test] | None:
    """Parse what `goss validate --format json` prints; None if it has no results."""
    for line in (text, *reversed(text.splitlines())):
        try:
            document = json.loads(line)
        except ValueError:
            continue
        if isinstance(document, dict) and "results" in document:
            results = document["results"] or []
            return [_test(result) for result in results if isinstance(result, dict)]
    return None


def _test(result: dict[str, Any]) -> Test:
    names = [str(result.get(key) or "") for key in ("resource-type", "resource-id", "property")]
    subject = ": ".join(filter(None, names))
    outcome = Outcome.PASS if result.get("successful") else Outcome.FAIL
    if result.get("skipped") or result.get("result") == SKIPPED:
        outcome = Outcome.SKIP
    return Test(
        subject=subject,
        outcome=outcome,
        reason="\n".join(_reason(result, subject)),
        seconds=float(result.get("duration") or 0) / 1e9,
    )


def _reason(result: dict[str, Any], subject: str) -> Iterator[str]:
    """Yield the lines of a reason: what goss says, without what the subject says already."""
    said = str(result.get("summary-line") or result.get("summary-line-compact") or "")
    lines = [line.rstrip() for line in said.splitlines() if line.strip()]
    if lines and lines[0].startswith(subject):
        lines[0] = lines[0].removeprefix(subject).lstrip(": ")
    if title := str(result.get("title") or ""):
        lines[:1] = [f"{title}: {lines[0]}" if lines and lines[0] else title]
    error = result.get("err")
    if isinstance(error, str) and error not in said:
        lines.append(error)
    yield from filter(None, lines)
