"""Errors of downloads: turn HTTP statuses and exceptions of requests into `DownloadError`s.

requests and urllib3 are slow to import, so they are imported after a failure.
"""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from postroj.errors import DownloadError
from postroj.urls import redacted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from requests import Response

WORTH_RETRYING = (429, 502, 503, 504)


class UnreachableError(DownloadError):
    """No server could be asked, so that nothing is known of the file."""


class TransientError(UnreachableError):
    """A download failed for a reason that may pass; worth a retry."""

    pause = 0.0
    """Seconds that the server asks us to wait."""


class AbsentError(DownloadError):
    """The server does not have the file."""


def check_status(response: Response, name: str, *, rest: bool) -> None:
    """Raise unless a response carries the file, or with `rest` a part of it."""
    if response.status_code not in ((200, 206, 416) if rest else (200,)):
        raise status_error(response, name)


def status_error(response: Response, name: str) -> DownloadError:
    """Build the error for an HTTP status that is not a success."""
    status = response.status_code
    text = f"{status} {response.reason or ''}".rstrip()
    evidence = f"{response.request.method} {redacted(response.url)}: {text}"
    if status in WORTH_RETRYING:
        message = f"{name} could not be fetched: the server says {text}"
        error = TransientError(message, evidence=evidence, hint="try again later")
        error.pause = retry_after(response.headers.get("Retry-After", ""))
        return error
    if status in (404, 410):
        message = f"{name} does not exist: the server says {text}"
        hint = "check the URL; mirrors delete files when a newer version arrives"
        return AbsentError(message, evidence=evidence, hint=hint)
    if status in (401, 403, 407):
        message = f"{name} is not accessible: the server says {text}"
        hint = "check user, password or token in the URL"
    else:
        message = f"{name} could not be fetched: the server says {text}"
        hint = "open the URL in a browser to see more"
    return DownloadError(message, evidence=evidence, hint=hint)


def downgrade(name: str, url: str) -> DownloadError:
    """Build the error for a redirect out of https."""
    message = f"{name} redirects to an unencrypted URL"
    hint = "pin the file with its SHA-256 to allow that"
    return DownloadError(message, evidence=f"redirected to '{redacted(url)}'", hint=hint)


def not_the_web(name: str) -> DownloadError:
    """Build the error for a URL, or a redirect to one, that is not http or https."""
    message = f"{name} leads to something that is not an http or https URL"
    return DownloadError(message, hint="check the URL, and where it redirects to")


def too_many_redirects(name: str, url: str) -> DownloadError:
    """Build the error for redirects without end; `url` is the last target."""
    message = f"{name} has too many redirects"
    return DownloadError(
        message, evidence=f"the last one goes to '{redacted(url)}'", hint="check the URL"
    )


def too_slow(name: str) -> DownloadError:
    """Build the error for a server that sends, but almost nothing."""
    message = f"{name} could not be fetched: the server is too slow"
    return TransientError(message, hint="check the network and try again later")


def retry_after(text: str) -> float:
    """Parse a `Retry-After` header, seconds or a date (RFC 9110, 10.2.3), into seconds."""
    if text.isascii() and text.isdigit():
        return float(text)
    from email.utils import parsedate_to_datetime

    with suppress(ValueError):
        then = parsedate_to_datetime(text)
        return max(0.0, then.timestamp() - time.time())
    return 0.0


def truncated(name: str, evidence: str) -> DownloadError:
    """Build the error for a download that ended early."""
    message = f"{name} was cut off"
    return TransientError(message, evidence=evidence, hint="check the network and try again")


def explain(error: Exception, name: str) -> DownloadError:
    """Build the error for an exception of requests or urllib3, without the secrets in its text."""
    import requests
    import urllib3.exceptions

    causes = list(_nested(error))
    evidence = _system_error(causes)
    match error:
        case requests.exceptions.InvalidSchema() | requests.exceptions.InvalidURL():
            return not_the_web(name)
        case requests.exceptions.ProxyError():
            message = f"{name} could not be fetched: the proxy refused the connection"
            hint = "check the environment variables 'http_proxy', 'https_proxy' and 'no_proxy'"
            return TransientError(message, evidence=evidence, hint=hint)
        case requests.exceptions.SSLError() | urllib3.exceptions.SSLError():
            message = f"{name} could not be fetched: no trusted TLS connection to its host"
            hint = "set 'REQUESTS_CA_BUNDLE' to use your own certificate authority"
            return DownloadError(message, evidence=evidence, hint=hint)
        case _:
            return _explain_connection(causes, name, evidence)


def _explain_connection(causes: list[BaseException], name: str, evidence: str) -> DownloadError:
    """Build the error from the nested exception that tells what happened to the connection."""
    from http.client import HTTPException

    import urllib3.exceptions

    for cause in causes:
        match cause:
            case socket.gaierror():
                message = f"{name} could not be fetched: its host is unknown"
                hint = "check the name, and whether DNS works on this host"
                again = cause.errno == socket.EAI_AGAIN
                kind = TransientError if again else UnreachableError
                return kind(message, evidence=evidence, hint=hint)
            case ConnectionRefusedError():
                message = f"{name} could not be fetched: its host refused the connection"
                hint = "check host and port, and whether the server runs"
                return TransientError(message, evidence=evidence, hint=hint)
            case TimeoutError() | urllib3.exceptions.ReadTimeoutError():
                message = f"{name} could not be fetched: the server did not respond in time"
                hint = "check the network and try again later"
                return TransientError(message, evidence=evidence, hint=hint)
            case _:
                continue
    if isinstance(causes[0], (HTTPException, ConnectionError)):  # raised while reading the body
        return truncated(name, evidence)
    message = f"{name} could not be fetched: the connection failed"
    return TransientError(message, evidence=evidence, hint="check the network and try again")


def _nested(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and all exceptions nested in it, outermost first."""
    seen: list[BaseException] = []
    waiting: list[object] = [error]
    while waiting:
        one = waiting.pop(0)
        if isinstance(one, BaseException) and one not in seen:
            seen.append(one)
            yield one
            # urllib3 stores the cause in `reason`, requests in its arguments.
            waiting += [getattr(one, "reason", None), one.__cause__, one.__context__, *one.args]


def _system_error(causes: list[BaseException]) -> str:
    """Return the system's own error text; outer exceptions repeat the URL with its secrets."""
    for cause in reversed(causes):
        if isinstance(cause, OSError) and cause.strerror:
            return str(cause)
    return type(causes[-1]).__name__
