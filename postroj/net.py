"""Download URLs, the only module that opens web connections: resume, retry, verify.

`http_errors` turns the failures into sentences. requests is slow to import, so it is imported when
something is downloaded.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import secrets
import time
from contextlib import contextmanager
from queue import Queue
from threading import Thread
from typing import TYPE_CHECKING

from postroj import __version__, http_errors, http_get
from postroj.console import Silence
from postroj.errors import DownloadError
from postroj.http_errors import TransientError
from postroj.http_get import CHUNK
from postroj.http_get import Patience as Patience
from postroj.urls import is_web, redacted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from requests import Response, Session

    from postroj.console import Progress

log = logging.getLogger(__name__)

LARGEST = 64 << 30
"""Bytes of a download, unless something smaller is known; images unpack to no more, either."""
USER_AGENT = f"postroj/{__version__}"
LONGEST_PAUSE = 30.0
NUMBER = re.compile(r"[0-9]{1,18}")
# RFC 9110, 14.4: `bytes 5-9/10`, `bytes 5-9/*`, and `bytes */10` for a range that does not exist.
CONTENT_RANGE = re.compile(
    r"bytes (?=[^*]|\*/[0-9])(?:([0-9]{1,18})-[0-9]+|\*)/(?:([0-9]{1,18})|\*)"
)
NOWHERE = -1
PATIENCE = Patience()


@contextmanager
def stream(
    url: str,
    *,
    progress: Progress,
    limit: int = LARGEST,
    allow_downgrade: bool = False,
    patience: Patience = PATIENCE,
    method: str = "GET",
) -> Iterator[Body]:
    """Open `url` and yield its body, which iterates over each byte of the file exactly once.

    `allow_downgrade` permits redirects from https to http, for content that is verified otherwise.

    :raises DownloadError: if it fails or exceeds `limit` bytes, now or while the body is read.
    """
    import requests

    if not is_web(url):
        message = f"'{redacted(url)}' is not an http or https URL"
        raise DownloadError(message, hint="give a URL like 'https://host/path', or a local path")
    with requests.Session() as session:
        session.trust_env = False  # which would read ~/.netrc
        # Digests are published for the plain bytes, not for a compressed transfer.
        session.headers.update({"User-Agent": USER_AGENT, "Accept-Encoding": "identity"})
        body = Body(
            url,
            session,
            progress,
            method=method,
            limit=limit,
            allow_downgrade=allow_downgrade,
            patience=patience,
        )
        try:
            body.open()
            yield body
        finally:
            body.close()
            body.digest.close()


def head(url: str, *, allow_downgrade: bool = False) -> int:
    """Return the size of the file at `url` in bytes, 0 if the server does not say; fetch nothing.

    :raises DownloadError: if it is not there, or larger than any download may be.
    """
    with stream(url, progress=Silence(), allow_downgrade=allow_downgrade, method="HEAD") as body:
        return body.size


def fetch_small(
    url: str, *, limit: int, allow_downgrade: bool = False, patience: Patience = PATIENCE
) -> bytes:
    """Download `url` into memory.

    :raises DownloadError: if the download fails or exceeds `limit` bytes.
    """
    with stream(
        url,
        progress=Silence(),
        limit=limit,
        allow_downgrade=allow_downgrade,
        patience=patience,
    ) as body:
        return b"".join(body)


def download(
    url: str,
    target: Path,
    *,
    sha256: str | None,
    progress: Progress,
    patience: Patience = PATIENCE,
) -> str:
    """Download `url` to the file `target` atomically and return its SHA-256.

    :raises DownloadError: if the download fails or the digest is not `sha256`.
    """
    part = target.with_name(f".{target.name[:100]}.{secrets.token_hex(4)}.part")
    try:
        with (
            stream(
                url, progress=progress, allow_downgrade=sha256 is not None, patience=patience
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
                hint="it was changed or replaced: compare with the digest of its publisher",
            )
        part.replace(target)
    except OSError as error:  # from the disk: errors of the connection are translated already
        message = f"'{target}' could not be written: {error.strerror or error}"
        hint = "is the disk full, or the folder read-only?"
        raise DownloadError(message, evidence=str(error), hint=hint) from error
    finally:
        part.unlink(missing_ok=True)
    return body.sha256


class _Digest:
    """SHA-256 of a stream, computed in a thread because hashing is the slowest part."""

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
        """Queue more bytes."""
        self._waiting.put(chunk)

    def hexdigest(self) -> str:
        """Return the digest of all bytes so far."""
        self._waiting.join()
        return self._sha256.hexdigest()

    def close(self) -> None:
        """Stop the thread."""
        self._waiting.put(b"")
        self._thread.join()


class Body:
    """The content of a URL, downloaded over as many connections as it takes."""

    size: int
    """Bytes; 0 if the server does not say."""

    def __init__(
        self,
        url: str,
        session: Session,
        progress: Progress,
        *,
        method: str,
        limit: int,
        allow_downgrade: bool,
        patience: Patience,
    ) -> None:
        self.requested_url, self.session, self.progress = url, session, progress
        self.method, self.limit = method, limit
        self.allow_downgrade, self.patience = allow_downgrade, patience
        self.name = f"'{redacted(url)}'"
        self.size = 0
        self.response: Response | None = None
        self.digest = _Digest()
        self.done = 0
        self.validator = ""
        """ETag or date by which the server recognizes this version of the file."""
        self.failures = self.done_at_failure = 0

    @property
    def sha256(self) -> str:
        """Digest of the bytes received so far."""
        return self.digest.hexdigest()

    def open(self) -> None:
        """Connect unless connected, retrying transient failures."""
        while self.response is None:
            try:
                with self._translated():
                    self._request()
            except TransientError as error:
                self._wait_or_raise(error)

    def close(self) -> None:
        """Close the connection."""
        if self.response is not None:
            self.response.close()
            self.response = None

    def __iter__(self) -> Iterator[bytes]:
        while True:
            self.open()
            try:
                with self._translated():
                    yield from self._new_chunks()
                    return
            except TransientError as error:
                self._wait_or_raise(error)

    def _wait_or_raise(self, error: TransientError) -> None:
        """Sleep before the next attempt, or raise the error after the last one."""
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

    def _request(self) -> None:
        """Request the file, or its rest if a validator proves that it has not changed."""
        rest = bool(self.done and self.validator)
        headers = {"Range": f"bytes={self.done}-", "If-Range": self.validator} if rest else {}
        response = http_get.request(
            self.session,
            self.method,
            self.requested_url,
            name=self.name,
            headers=headers,
            patience=self.patience,
            allow_downgrade=self.allow_downgrade,
        )
        self.response = response
        http_errors.check_status(response, self.name, rest=rest)
        start, size = _extent(response)
        self._check_limit(size)
        if self.size and size and size != self.size:
            raise self._changed(evidence=f"it had {self.size} bytes, it has {size}")
        validator = _validator(response)
        if start and (start != self.done or validator not in ("", self.validator)):
            self.validator = ""  # so the next attempt downloads everything and compares
            raise http_errors.truncated(self.name, "the server went on at another place")
        self.size = self.size or size
        self.validator = validator or self.validator

    def _new_chunks(self) -> Iterator[bytes]:
        """Yield the bytes that have not been yielded yet."""
        assert self.response is not None
        if self.response.status_code == 416:  # Range Not Satisfiable: all bytes are here
            return
        at = _extent(self.response)[0]
        wanted = self.done
        again = hashlib.sha256()
        for chunk in http_get.chunks(self.response, self.patience, self.name):
            known = chunk[: max(0, wanted - at)]
            again.update(known)
            at += len(chunk)
            if known and at >= wanted and again.hexdigest() != self.digest.hexdigest():
                raise self._changed(evidence="its beginning has changed")
            if fresh := chunk[len(known) :]:
                self.digest.update(fresh)
                self.done += len(fresh)
                self._check_limit(self.done)
                yield fresh
                self.progress.reach(self.done, self.size)
        if at < max(wanted, self.size):
            raise http_errors.truncated(self.name, f"received {at} of {self.size or wanted} bytes")

    def _check_limit(self, size: int) -> None:
        if size > self.limit:
            message = f"{self.name} is larger than the limit of {self.limit} bytes"
            raise DownloadError(message, hint="is it the right file?")

    def _changed(self, *, evidence: str) -> DownloadError:
        message = f"{self.name} changed during the download"
        return DownloadError(message, evidence=evidence, hint="try again")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        from http.client import HTTPException

        import requests

        try:
            yield
        except (requests.RequestException, HTTPException, OSError) as error:
            raise http_errors.explain(error, self.name) from None  # its text has our secrets


def _validator(response: Response) -> str:
    """Return the validator of a file's version (RFC 9110, 13.1.5); '' if there is none."""
    tag: str = response.headers.get("ETag", "")
    return tag if tag.startswith('"') else response.headers.get("Last-Modified", "")


def _extent(response: Response) -> tuple[int, int]:
    """Return the offset at which a body begins and the size of the file, 0 if unknown."""
    if response.status_code == 200:
        length = response.headers.get("Content-Length", "")
        return 0, int(length) if NUMBER.fullmatch(length) else 0
    found = CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if found is None:
        return NOWHERE, 0
    start, size = found.groups()
    return int(start or size), int(size or 0)  # an unsatisfiable range begins at the end
