"""The one door to the web: a URL becomes bytes, a file or an error, over a bad line too.

What a server answers instead is in `answers`. requests is slow to load and is imported when
something is fetched.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import secrets
import time
from contextlib import contextmanager
from dataclasses import dataclass
from queue import Queue
from threading import Thread
from typing import TYPE_CHECKING

from postroj import __version__, http_errors
from postroj.console import Silence
from postroj.errors import DownloadError
from postroj.http_errors import TransientError
from postroj.urls import is_web, redacted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from requests import Response, Session

    from postroj.console import Progress

log = logging.getLogger(__name__)

CHUNK = 1 << 17
"""Bytes; of one that a failure interrupts nothing is kept."""
USER_AGENT = f"postroj/{__version__}"
LONGEST_PAUSE = 30.0
NUMBER = re.compile(r"[0-9]{1,18}")
# RFC 9110, 14.4: `bytes 5-9/10`, `bytes 5-9/*`; and of a range that cannot be had, `bytes */10`
CONTENT_RANGE = re.compile(
    r"bytes (?=[^*]|\*/[0-9])(?:([0-9]{1,18})-[0-9]+|\*)/(?:([0-9]{1,18})|\*)"
)
NOWHERE = -1


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long and how often to try; seconds."""

    connect: float = 10.0
    read: float = 30.0
    """Without a single byte."""
    attempts: int = 3
    """In a row that bring less than a chunk."""
    pause: float = 1.0
    """After the first attempt; doubled after every other."""
    redirects: int = 10


PATIENCE = Patience()


@contextmanager
def stream(
    url: str,
    *,
    progress: Progress,
    allow_downgrade: bool = False,
    patience: Patience = PATIENCE,
) -> Iterator[Body]:
    """Fetch `url` as chunks of bytes, from its first byte to its last and each once.

    Its content is proved otherwise if it may come from `anywhere`: redirects may leave TLS then.

    :raises DownloadError: if it cannot be fetched, here or while the body is iterated over.
    """
    import requests

    if not is_web(url):
        message = f"'{redacted(url)}' is no http or https URL"
        raise DownloadError(message, hint="give a URL like 'https://host/path', or a local path")
    with requests.Session() as session:
        session.max_redirects = patience.redirects
        # A body in another encoding would have other bytes than its publisher's digest.
        session.headers.update({"User-Agent": USER_AGENT, "Accept-Encoding": "identity"})
        body = Body(
            url,
            session,
            progress,
            allow_downgrade=allow_downgrade,
            patience=patience,
        )
        try:
            body.open()
            yield body
        finally:
            body.close()
            body.digest.close()


def fetch_small(
    url: str, *, limit: int, allow_downgrade: bool = False, patience: Patience = PATIENCE
) -> bytes:
    """Fetch `url` into memory.

    :raises DownloadError: if it cannot be fetched, or has more than `limit` bytes.
    """
    data = bytearray()
    with stream(
        url,
        progress=Silence(),
        allow_downgrade=allow_downgrade,
        patience=patience,
    ) as body:
        for chunk in body if body.size <= limit else [bytes(limit + 1)]:
            data += chunk
            if len(data) > limit:
                message = f"'{redacted(url)}' has more than the {limit} bytes that it may have"
                raise DownloadError(message, hint="is it really the file that is meant?")
    return bytes(data)


def download(
    url: str,
    target: Path,
    *,
    sha256: str | None,
    progress: Progress,
    patience: Patience = PATIENCE,
) -> str:
    """Fetch `url` into the file `target`, which appears whole or not at all; its SHA-256.

    :raises DownloadError: if it could not be fetched, or has another digest than `sha256`.
    """
    part = target.with_name(f".{target.name[:100]}.{secrets.token_hex(4)}.part")
    try:
        with (
            stream(
                url,
                progress=progress,
                allow_downgrade=sha256 is not None,
                patience=patience,
            ) as body,
            part.open("xb") as file,
        ):
            for chunk in body:
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        if sha256 is not None and sha256.lower() != body.sha256:
            message = f"'{redacted(url)}' is not the file that was pinned"
            raise DownloadError(
                message,
                evidence=f"expected SHA-256 {sha256}\nreceived SHA-256 {body.sha256}",
                hint="it was changed or replaced: compare with what its publisher says",
            )
        part.replace(target)
    except OSError as error:  # of the disk: what the connection raises was translated
        message = f"'{target}' could not be written: {error.strerror or error}"
        hint = "is there space left, and may you write there?"
        raise DownloadError(message, evidence=str(error), hint=hint) from error
    finally:
        part.unlink(missing_ok=True)
    return body.sha256


class _Digest:
    """SHA-256 of a stream, in a thread of its own: nothing takes longer, and it needs no lock."""

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()
        self._waiting: Queue[bytes] = Queue(maxsize=16)
        self._thread = Thread(target=self._work, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        chunk = b"more"
        while chunk:
            chunk = self._waiting.get()
            self._sha256.update(chunk)
            self._waiting.task_done()

    def update(self, chunk: bytes) -> None:
        """Take some more bytes."""
        self._waiting.put(chunk)

    def hexdigest(self) -> str:
        """Return the digest of all that was taken."""
        self._waiting.join()
        return self._sha256.hexdigest()

    def close(self) -> None:
        """End the thread."""
        self._waiting.put(b"")
        self._thread.join()


class Body:
    """What a URL brings, over as many connections as it takes."""

    url: str
    """Where redirects have led to, without secrets."""
    size: int
    """Bytes; 0 if the server does not tell."""

    def __init__(
        self,
        url: str,
        session: Session,
        progress: Progress,
        *,
        allow_downgrade: bool,
        patience: Patience,
    ) -> None:
        self.asked, self.session, self.progress = url, session, progress
        self.allow_downgrade, self.patience = allow_downgrade, patience
        self.name = f"'{redacted(url)}'"
        self.url, self.size = redacted(url), 0
        self.response: Response | None = None
        self.digest = _Digest()
        self.done = 0
        self.validator = ""
        """A header's value by which the server knows this version of the file again."""
        self.failures = 0
        self.done_at_failure = 0

    @property
    def sha256(self) -> str:
        """Of the bytes that came so far."""
        return self.digest.hexdigest()

    def open(self) -> None:
        """Have an answer whose body goes on where we are."""
        while self.response is None:
            try:
                with self._translated():
                    self._ask()
            except TransientError as error:
                self._bear(error)

    def close(self) -> None:
        """Hang up."""
        if self.response is not None:
            self.response.close()
            self.response = None

    def __iter__(self) -> Iterator[bytes]:
        while True:
            self.open()
            try:
                with self._translated():
                    yield from self._fresh()
                    return
            except TransientError as error:
                self._bear(error)

    def _bear(self, error: TransientError) -> None:
        """Wait before the next attempt; raise the error if it is one too many."""
        self.close()
        if self.done >= self.done_at_failure + CHUNK:
            self.failures = 0
        self.done_at_failure = self.done
        self.failures += 1
        if self.failures == self.patience.attempts:
            raise error
        wait = max(self.patience.pause * 2 ** (self.failures - 1), error.pause)
        wait = min(wait, LONGEST_PAUSE)
        log.info("%s; trying again in %.0f s", error.message, wait)
        time.sleep(wait)

    def _ask(self) -> None:
        """Send a request, for the rest of the file if the server can tell that it is the same."""
        rest = bool(self.done and self.validator)
        headers = {"Range": f"bytes={self.done}-", "If-Range": self.validator} if rest else {}
        timeout = (self.patience.connect, self.patience.read)
        response = self.session.get(self.asked, headers=headers, stream=True, timeout=timeout)
        self.response = response
        http_errors.check_response(
            response, self.name, rest=rest, allow_downgrade=self.allow_downgrade
        )
        start, size = _extent(response)
        if self.size and size and size != self.size:
            raise self._changed(evidence=f"it had {self.size} bytes, it has {size}")
        validator = _validator(response)
        if start and (start != self.done or validator not in ("", self.validator)):
            self.validator = ""  # the next attempt takes the whole file, and compares
            raise http_errors.truncated(self.name, "the server went on at another place")
        self.url, self.size = redacted(response.url), self.size or size
        self.validator = validator or self.validator

    def _fresh(self) -> Iterator[bytes]:
        """Yield what comes after the bytes that we have."""
        assert self.response is not None
        if self.response.status_code == 416:  # we have them all
            return
        at = _extent(self.response)[0]
        wanted = self.done
        again = hashlib.sha256()
        for chunk in self.response.raw.stream(CHUNK, decode_content=False):
            known = chunk[: max(0, wanted - at)]
            again.update(known)
            at += len(chunk)
            if known and at >= wanted and again.hexdigest() != self.digest.hexdigest():
                raise self._changed(evidence="its beginning is another one now")
            if fresh := chunk[len(known) :]:
                self.digest.update(fresh)
                self.done += len(fresh)
                yield fresh
                self.progress.reach(self.done, self.size)
        if at < max(wanted, self.size):
            raise http_errors.truncated(self.name, f"received {at} of {self.size or wanted} bytes")

    def _changed(self, *, evidence: str) -> DownloadError:
        message = f"{self.name} was changed while it was fetched"
        return DownloadError(message, evidence=evidence, hint="try again")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        import requests
        import urllib3.exceptions

        try:
            yield
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            raise http_errors.explain(error, self.name) from error


def _validator(response: Response) -> str:
    """Return what tells this version of a file from others (RFC 9110, 13.1.5); '' if nothing."""
    tag: str = response.headers.get("ETag", "")
    return tag if tag.startswith('"') else response.headers.get("Last-Modified", "")


def _extent(response: Response) -> tuple[int, int]:
    """Return where in the file a body begins, and the size of the file (0 if unknown)."""
    if response.status_code == 200:
        length = response.headers.get("Content-Length", "")
        return 0, int(length) if NUMBER.fullmatch(length) else 0
    found = CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if found is None:
        return NOWHERE, 0
    start, size = found.groups()
    return int(start or size), int(size or 0)  # a range that cannot be had begins at the end
