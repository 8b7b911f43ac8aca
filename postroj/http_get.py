"""One request, GET or HEAD: its redirects, its credentials, and how long each part may take.

requests would follow a redirect before anybody could judge it, and send passwords of `~/.netrc` to
whatever host it leads to. What is slow to import is imported when something is downloaded.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from functools import partial
from threading import Thread
from typing import TYPE_CHECKING, cast
from urllib.parse import urljoin, urlsplit

from postroj import http_errors
from postroj.urls import is_web

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from concurrent.futures import Future
    from http.client import HTTPResponse

    from requests import Response, Session

CHUNK = 1 << 17
"""Bytes read at a time."""
CERTIFICATES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long to wait and how often to retry; times in seconds."""

    connect: float = 10.0
    read: float = 30.0
    """Between two bytes."""
    slow: float = 120.0
    """For the headers, and for each chunk: a server below 1 kB/s counts as stalled."""
    attempts: int = 3
    """Consecutive attempts that may bring less than a chunk each."""
    pause: float = 1.0
    """Before the second attempt; doubled before each later one."""
    redirects: int = 10


def request(
    session: Session,
    method: str,
    url: str,
    *,
    name: str,
    headers: Mapping[str, str],
    patience: Patience,
    allow_downgrade: bool,
) -> Response:
    """Request a URL and follow its redirects, each of which is judged first.

    Return the response with its body unread. User and password of a URL are sent to its host only.

    :raises DownloadError: if a redirect leads to something else than http and https, or out of
        https unless `allow_downgrade` is set.
    """
    from requests.utils import get_auth_from_url, get_environ_proxies, requote_uri

    verify = next(filter(None, map(os.environ.get, CERTIFICATES)), True)
    auth = None
    for _ in range(patience.redirects + 1):
        auth = get_auth_from_url(url) if "@" in urlsplit(url).netloc else auth
        ask = partial(
            session.request,
            method,
            url,
            headers=headers,
            auth=auth,
            proxies=get_environ_proxies(url),
            verify=verify,
            allow_redirects=False,
            stream=True,
            timeout=(patience.connect, patience.read),
        )
        response = _within(patience.slow, ask, name)
        target = session.get_redirect_target(response)
        if target is None:
            return response
        response.close()
        following = urljoin(url, requote_uri(target))
        if not is_web(following):
            raise http_errors.not_the_web(name)
        if _is_encrypted(url) and not _is_encrypted(following) and not allow_downgrade:
            raise http_errors.downgrade(name, following)
        if session.should_strip_auth(url, following):  # type: ignore[no-untyped-call]
            auth = None
        url = following
    raise http_errors.too_many_redirects(name, url)


def _is_encrypted(url: str) -> bool:
    return urlsplit(url).scheme == "https"


def chunks(response: Response, patience: Patience, name: str) -> Iterator[bytes]:
    """Yield the body in chunks.

    :raises TransientError: if one of them takes too long.
    """
    from http.client import HTTPException

    # Only the response of http.client returns what has arrived instead of waiting for a chunk.
    body = cast("HTTPResponse", response.raw._original_response)
    begun, chunk, part = time.monotonic(), bytearray(), b"begin"
    while part:
        try:
            part = body.read1(CHUNK - len(chunk))
        except (HTTPException, OSError):
            yield bytes(chunk)  # so it need not arrive again
            raise
        chunk += part
        if len(chunk) == CHUNK:
            yield bytes(chunk)
            begun = time.monotonic()
            chunk.clear()
        elif time.monotonic() - begun > patience.slow:
            raise http_errors.too_slow(name)
    yield bytes(chunk)


def _close(late: Future[Response]) -> None:
    if late.exception() is None:
        late.result().close()


def _within(seconds: float, ask: Callable[[], Response], name: str) -> Response:
    """Return the answer to a request, or give up on it, as its time-outs only limit single bytes.

    :raises TransientError: if it takes too long.
    """
    from concurrent.futures import Future, wait

    future: Future[Response] = Future()

    def work() -> None:
        try:
            future.set_result(ask())
        except Exception as error:
            future.set_exception(error)

    Thread(target=work, daemon=True).start()  # not of a pool, for whose threads the exit waits
    if not wait([future], seconds).done:
        future.add_done_callback(_close)
        raise http_errors.too_slow(name)
    return future.result()
