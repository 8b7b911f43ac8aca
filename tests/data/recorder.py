"""What the recorders of rpm and pacman have in common: guests, web servers, scrubbed outputs."""

from __future__ import annotations

import http.server
import re
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from postroj.container.spec import Bind, GuestSpec
from postroj.container.start import start_guest
from postroj.errors import CommandTimeout
from postroj.model import NetworkMode
from postroj.probe.package.package_file import GUEST_DIR

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

MIRROR = "mirror.example"
TIMED_OUT = "timed out"


@dataclass(frozen=True, kw_only=True)
class Case:
    """One thing that a package manager does: what it is, and what is wrong in the guest before."""

    packages: str = ""
    """File names without what follows the name of the package, or names for `remove`."""
    operation: str = "install"
    before: str = ""
    """A script in the guest."""
    repository: str = "good"
    """A kind of `Repository`; '' for none at all."""
    network: NetworkMode = NetworkMode.HOST
    timeout: float = 60
    wrap: str = ""
    """A shell command that runs the words behind it."""


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """How a command ended."""

    status: int | None
    """None if it did not end in time."""
    output: str


def write(path: Path, recorded: Recorded) -> None:
    """Keep a recording: a line with the status, and the output."""
    status = TIMED_OUT if recorded.status is None else f"status {recorded.status}"
    path.write_text(f"{status}\n{recorded.output.rstrip()}\n")


def read(path: Path) -> Recorded:
    """Read what `write` wrote."""
    first, _, output = path.read_text().partition("\n")
    return Recorded(
        status=None if first == TIMED_OUT else int(first.removeprefix("status ")), output=output
    )


class Repository(http.server.BaseHTTPRequestHandler):
    """The files of a folder; the first part of the path says what is wrong with them."""

    folder: Path
    index: str
    """What the names of the list of all packages contain."""
    suffixes: tuple[str, ...]
    """Of packages."""
    over = threading.Event()

    def log_message(self, *args: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        _, kind, *rest = self.path.split("/")
        path = self.folder.joinpath(*rest)
        package = path.name.endswith(self.suffixes)
        if kind == "unavailable":
            self.send_error(503)
        elif kind == "not-found" or (kind == "package-gone" and package) or not path.is_file():
            self.send_error(404)
        else:
            body = path.read_bytes()
            hit = {"package": package, "index": self.index in path.name}.get(
                kind.partition("-")[0], False
            )
            if hit and kind.endswith("-altered"):
                body = b"ALTERED!!" + body[9:]
            self.answer(
                body, cut=hit and kind.endswith("-cut"), hang=hit and kind.endswith("-hangs")
            )

    do_HEAD = do_GET

    def answer(self, body: bytes, *, cut: bool = False, hang: bool = False) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        self.wfile.write(body[: len(body) // 2] if cut or hang else body)
        if hang:
            self.wfile.flush()
            self.over.wait(20)


def run(
    layers: tuple[Path, ...],
    folder: Path,
    case: Case,
    before: str,
    argv: Sequence[str],
    environment: Mapping[str, str],
) -> Recorded:
    """Do it for real, in a guest of its own."""
    binds = (Bind(source=folder, target=GUEST_DIR, read_only=True),)
    spec = GuestSpec(layers=layers, network=case.network, binds=binds)
    with start_guest(spec) as guest:
        env = dict(environment)
        guest.run(["sh", "-c", before], env=env, timeout=120)
        words = ["sh", "-c", f'{case.wrap} "$@"', "sh", *argv] if case.wrap else list(argv)
        try:
            done = guest.run(words, ok=range(256), timeout=case.timeout, env=env)
        except CommandTimeout as error:
            return Recorded(status=None, output=error.output)
        return Recorded(status=done.status, output=done.output)


def scrub(recorded: Recorded, port: int) -> Recorded:
    """Take out where it was made."""
    output = re.sub(rf"127\.0\.0\.1:(?:{port}|9)\b", MIRROR, recorded.output)
    output = re.sub(rf"127\.0\.0\.1 port (?:{port}|9)\b", f"{MIRROR} port 80", output)
    return Recorded(status=recorded.status, output=output)
