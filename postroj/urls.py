"""URLs as text: which ones postroj can fetch, and how they are shown without their secrets."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

HIDDEN = "***"
URL = re.compile(r"""[A-Za-z][A-Za-z0-9+.-]*://[^\s"<>`]+?(?=['(){}\],.:;]*(?:[\s"<>`]|$))""")
"""A URL in a text; closing quotes and punctuation are not part of it."""
USER = re.compile(r"(?:(?<=//)|^)[^/?#]*@")
"""User and password, up to the last `@` before the path (RFC 3986, 3.2)."""
UNESCAPED = re.compile(r"(?:(?<=//)|^)(?!\[)[^/?#@:]*:(?!\d*(?:[/?#]|$)).*@")
"""The same with a `/`, `?` or `#` in the password, which looks like a port without being one."""
PARAMETER = re.compile(r"(?<=[?&;#])(?:([^=&;#]*=)[^&;#]*|[^=&;#]+)")
"""A part of the query, or a parameter of the path, with the name if it has one."""


def is_web(url: str) -> bool:
    """Whether this is a complete http or https URL."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def redacted(url: str) -> str:
    """Hide user and password of a URL, and the values of its parameters.

    All values are hidden, because no list of the names that promise a secret is complete.
    """
    for user in (USER, UNESCAPED):
        url = user.sub(f"{HIDDEN}@", url)
    return PARAMETER.sub(lambda parameter: f"{parameter[1] or ''}{HIDDEN}", url)


def redacted_text(text: str) -> str:
    """Hide the same in every URL of a text, whatever its scheme."""
    return URL.sub(lambda url: redacted(url[0]), text)


def without_user(url: str) -> str:
    """Return a URL without user and password."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
