"""URLs as text: which ones postroj can fetch, and how they are shown without their secrets."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

URL = re.compile(r"""[A-Za-z][A-Za-z0-9+.-]*://\S+?(?=["'()<>\],.:;]*(?:\s|$))""")
"""A URL in a text; closing quotes and punctuation are not part of it."""
SECRETS = re.compile(r"(?i)([^&=]*(?:auth|cred|key|pass|secret|sig|token)[^&=]*)=[^&]*")
"""Query parameters whose names promise a secret."""


def is_web(url: str) -> bool:
    """Whether this is a complete http or https URL."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def redacted(url: str) -> str:
    """Hide user, password and secret query parameters of a URL; '***' if it cannot be parsed."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "***"
    netloc = parts.netloc
    if "@" in netloc:
        netloc = "***@" + netloc.rpartition("@")[2]
    return parts._replace(netloc=netloc, query=SECRETS.sub(r"\1=***", parts.query)).geturl()


def redacted_text(text: str) -> str:
    """Hide the same in every URL of a text, whatever its scheme."""
    return URL.sub(lambda url: redacted(url[0]), text)
