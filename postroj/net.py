"""The one door to the web: a URL becomes a file, whole and verified, or there is no file.

requests is slow to load and is imported when something is fetched.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import secrets
import socket
import time
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from postroj import __version__
from postroj.errors import DownloadError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

    from requests import Response

    from postroj.console import Progress

log = logging.getLogger(__name__)

CHUNK = 1 << 20
USER_AGENT = f"postroj/{__version__}"
LONGEST_PAUSE = 30.0
WORTH_RETRYING = (429, 502, 503, 504)
SECRETS = re.compile(r"(?i)([^&=]*(?:auth|cred|key|pass|secret|sig|token)[^&=]*)=[^&]*")


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long and how often to try; seconds."""

    connect: float = 10.0
    read: float = 30.0
    """Without a single byte."""
    attempts: int = 3
    pause: float = 1.0
    """After the first attempt; doubled after every other."""
    redirects: int = 10


PATIENCE = Patience()


class _TransientError(DownloadError):
    """A failure that may not come again."""

    pause = 0.0
    """How long the server asks us to wait."""


def download(
    url: str,
    target: Path,
    *,
    sha256: str | None,
    progress: Progress,
    patience: Patience = PATIENCE,
) -> str:
    """Fetch `url` into the file `target`; its SHA-256.

    :raises DownloadError: if it could not be fetched, or has another digest than `sha256`.
    """
    if not _is_web(url):
        message = f"'{redacted(url)}' is no http or https URL"
        raise DownloadError(message, hint="give a URL like 'https://host/path', or a local path")
    job = _Job(url, target, sha256 and sha256.lower(), progress, patience)
    pause = patience.pause
    for left in reversed(range(patience.attempts)):
        try:
            return job.attempt()
        except _TransientError as error:
            if not left:
                raise
            wait = min(max(pause, error.pause), LONGEST_PAUSE)
            log.info("%s; trying again in %.0f s", error.message, wait)
            time.sleep(wait)
            pause *= 2
    raise AssertionError(patience)


def redacted(url: str) -> str:
    """Return the URL without user, password and what looks like a secret in its query."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "***"
    netloc = parts.netloc
    if "@" in netloc:
        netloc = "***@" + netloc.rpartition("@")[2]
    return parts._replace(netloc=netloc, query=SECRETS.sub(r"\1=***", parts.query)).geturl()


def _is_web(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


@dataclass(frozen=True)
class _Job:
    """One file to fetch."""

    url: str
    target: Path
    sha256: str | None
    progress: Progress
    patience: Patience

    @property
    def name(self) -> str:
        """Return what messages call it."""
        return f"'{redacted(self.url)}'"

    def attempt(self) -> str:
        """Fetch into a temporary name beside the target, verify, rename."""
        part = self.target.with_name(f".{self.target.name[:100]}.{secrets.token_hex(4)}.part")
        try:
            digest = self._fetch(part)
            self._verify(digest)
            part.replace(self.target)
        except OSError as error:  # of the disk: what the connection raises is translated below
            message = f"'{self.target}' could not be written: {error.strerror or error}"
            hint = "is there space left, and may you write there?"
            raise DownloadError(message, evidence=str(error), hint=hint) from error
        finally:
            part.unlink(missing_ok=True)
        return digest

    def _verify(self, digest: str) -> None:
        if self.sha256 not in (None, digest):
            message = f"{self.name} is not the file that was pinned"
            raise DownloadError(
                message,
                evidence=f"expected SHA-256 {self.sha256}\nreceived SHA-256 {digest}",
                hint="it was changed or replaced: compare with what its publisher says",
            )

    def _fetch(self, part: Path) -> str:
        """Write what the URL brings to `part`; its SHA-256."""
        digest = hashlib.sha256()
        with part.open("xb") as stream, closing(self._chunks()) as chunks:
            for chunk in chunks:
                stream.write(chunk)
                digest.update(chunk)
            stream.flush()
            os.fsync(stream.fileno())
        return digest.hexdigest()

    def _chunks(self) -> Generator[bytes, None, None]:
        """Yield the body, and raise for whatever keeps it from being whole."""
        import requests
        import urllib3.exceptions

        try:
            with requests.Session() as session:
                session.max_redirects = self.patience.redirects
                # A body in another encoding would have other bytes than its publisher's digest.
                session.headers.update({"User-Agent": USER_AGENT, "Accept-Encoding": "identity"})
                timeout = (self.patience.connect, self.patience.read)
                with session.get(self.url, stream=True, timeout=timeout) as response:
                    self._judge(response)
                    yield from self._body(response)
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            raise _explain(error, self.name) from error

    def _body(self, response: Response) -> Iterator[bytes]:
        length = response.headers.get("Content-Length", "")
        total = int(length) if length.isascii() and length.isdigit() else 0
        done = 0
        for chunk in response.raw.stream(CHUNK, decode_content=False):
            yield chunk
            done += len(chunk)
            self.progress.reach(done, total)
        if done < total:
            raise _cut_off(self.name, f"received {done} of {total} bytes")

    def _judge(self, response: Response) -> None:
        """Raise for an answer that is not the file."""
        urls = [one.url for one in (*response.history, response)]
        if self.sha256 is None and urls[0].startswith("https:"):
            for url in urls[1:]:
                if not url.startswith("https:"):
                    message = f"{self.name} leads to an unprotected URL"
                    raise DownloadError(
                        message,
                        evidence=f"redirected to '{redacted(url)}'",
                        hint="pin the file with its SHA-256 to fetch it that way",
                    )
        if response.status_code != 200:
            raise _refusal(response, self.name)


def _refusal(response: Response, name: str) -> DownloadError:
    """Return the error for a status other than 200."""
    status = response.status_code
    said = f"{status} {response.reason or ''}".rstrip()
    evidence = f"GET {redacted(response.url)}: {said}"
    if status in WORTH_RETRYING:
        message = f"{name} could not be fetched: the server says {said}"
        error = _TransientError(message, evidence=evidence, hint="try again later")
        after = response.headers.get("Retry-After", "")
        error.pause = float(after) if after.isascii() and after.isdigit() else 0.0
        return error
    if status in (404, 410):
        message = f"{name} does not exist: the server says {said}"
        hint = "check the URL; files on a mirror go away when a newer version comes"
    elif status in (401, 403, 407):
        message = f"{name} may not be fetched: the server says {said}"
        hint = "check user, password or token in the URL"
    else:
        message = f"{name} could not be fetched: the server says {said}"
        hint = "open the URL in a browser to see more"
    return DownloadError(message, evidence=evidence, hint=hint)


def _cut_off(name: str, evidence: str) -> DownloadError:
    message = f"{name} was cut off"
    return _TransientError(message, evidence=evidence, hint="check the network and try again")


def _explain(error: Exception, name: str) -> DownloadError:
    """Translate what requests and urllib3 raise; their own words tell too much and too little."""
    import requests
    import urllib3.exceptions

    causes = list(_causes(error))
    evidence = _words(causes)
    match error:
        case requests.TooManyRedirects():
            message, hint = f"{name} leads through too many redirects", "check the URL"
            if error.response is not None:
                evidence = f"the last one leads to '{redacted(error.response.url)}'"
            return DownloadError(message, evidence=evidence, hint=hint)
        case requests.exceptions.InvalidSchema() | requests.exceptions.InvalidURL():
            message = f"{name} leads to something that is no http or https URL"
            return DownloadError(message, hint="check the URL, and where it redirects to")
        case requests.exceptions.ProxyError():
            message = f"{name} could not be fetched: the proxy did not let us through"
            hint = "check the environment variables 'http_proxy', 'https_proxy' and 'no_proxy'"
            return _TransientError(message, evidence=evidence, hint=hint)
        case requests.exceptions.SSLError() | urllib3.exceptions.SSLError():
            message = f"{name} could not be fetched: no trusted TLS connection to its host"
            hint = "for a certificate authority of your own set 'REQUESTS_CA_BUNDLE'"
            return DownloadError(message, evidence=evidence, hint=hint)
        case _:
            return _explain_connection(causes, name, evidence)


def _explain_connection(causes: list[BaseException], name: str, evidence: str) -> DownloadError:
    """Find among nested exceptions the one that says what happened to the connection."""
    import urllib3.exceptions

    for cause in causes:
        match cause:
            case socket.gaierror():
                message = f"{name} could not be fetched: its host is not known"
                hint = "check the host's name, and that DNS works here"
                again = cause.errno == socket.EAI_AGAIN
                kind = _TransientError if again else DownloadError
                return kind(message, evidence=evidence, hint=hint)
            case ConnectionRefusedError():
                message = f"{name} could not be fetched: its host refused the connection"
                hint = "check host and port, and that the server runs"
                return _TransientError(message, evidence=evidence, hint=hint)
            case TimeoutError() | urllib3.exceptions.ReadTimeoutError():
                message = f"{name} could not be fetched: nothing came in time"
                hint = "check the network, and try again later"
                return _TransientError(message, evidence=evidence, hint=hint)
            case _:
                continue
    if isinstance(causes[0], urllib3.exceptions.ProtocolError):  # while the body was read
        return _cut_off(name, evidence)
    message = f"{name} could not be fetched: the connection failed"
    return _TransientError(message, evidence=evidence, hint="check the network, and try again")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and all that are nested in it, outermost first."""
    seen: list[BaseException] = []
    waiting: list[object] = [error]
    while waiting:
        one = waiting.pop(0)
        if isinstance(one, BaseException) and one not in seen:
            seen.append(one)
            yield one
            # urllib3 keeps a cause in `reason`, requests in its arguments.
            waiting += [getattr(one, "reason", None), one.__cause__, one.__context__, *one.args]


def _words(causes: list[BaseException]) -> str:
    """Return what the system said; the outer exceptions would repeat the URL with its secrets."""
    for cause in reversed(causes):
        if isinstance(cause, OSError) and cause.strerror:
            return str(cause)
    return type(causes[-1]).__name__
