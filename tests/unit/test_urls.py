from __future__ import annotations

import pytest

from postroj.urls import is_web, redacted, redacted_text

REDACTED = {
    "nothing secret": ("https://host/file.deb?x=1#part", "https://host/file.deb?x=1#part"),
    "user and password": ("https://user:word@host:8080/file", "https://***@host:8080/file"),
    "user alone": ("https://token@host/file", "https://***@host/file"),
    "at sign in the password": ("http://user:p@ss@host/file", "http://***@host/file"),
    "blank in the password": ("http://user:pa ss@host/file", "http://***@host/file"),
    "secrets in the query": (
        "https://host/f?a=1&X-Amz-Signature=abc&access_token=def&b=2",
        "https://host/f?a=1&X-Amz-Signature=***&access_token=***&b=2",
    ),
    "quote in a secret": ("https://host/f?token=a'b", "https://host/f?token=***"),
    "digest behind an at sign": (
        f"docker://quay.io/a/b@sha256:{'0' * 64}",
        f"docker://quay.io/a/b@sha256:{'0' * 64}",
    ),
    "not a URL that can be parsed": ("http://[::1/file", "***"),
}


@pytest.mark.parametrize(("url", "shown"), REDACTED.values(), ids=REDACTED)
def test_redacted_hides_user_password_and_secret_parameters(url: str, shown: str) -> None:
    assert redacted(url) == shown


TEXTS = {
    "user and password": (
        "E: http://user:pa@mirror.example/debian, a@b",
        "E: http://***@mirror.example/debian, a@b",
    ),
    "at sign in the password": ("see http://u:p@w@host/", "see http://***@host/"),
    "another scheme": ("socks5h://user:word@host:1080 failed", "socks5h://***@host:1080 failed"),
    "secret parameter, quoted": (
        'Get "https://host/blob?Signature=abc&a=b": EOF',
        'Get "https://host/blob?Signature=***&a=b": EOF',
    ),
    "secret parameter, last": (
        "Failed to fetch https://host/a?token=abc  404 Not Found",
        "Failed to fetch https://host/a?token=***  404 Not Found",
    ),
    "several URLs": ("http://a:b@c\nhttp://d:e@f", "http://***@c\nhttp://***@f"),
    "no URL": ("user:word@host", "user:word@host"),
}


@pytest.mark.parametrize(("text", "shown"), TEXTS.values(), ids=TEXTS)
def test_redacted_text_hides_them_in_every_url(text: str, shown: str) -> None:
    assert redacted_text(text) == shown


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://host/file", True),
        ("http://host:8080", True),
        ("http://host:0/", False),
        ("http:///file", False),
        ("ftp://host/file", False),
        ("http://[::1/file", False),
        ("/path", False),
    ],
)
def test_is_web_takes_http_and_https_with_a_host(url: str, expected: bool) -> None:
    assert is_web(url) is expected
