from __future__ import annotations

import pytest

from postroj.urls import is_web, redacted, redacted_text, without_user

REDACTED = {
    "nothing secret": ("https://host:8080/file.deb", "https://host:8080/file.deb"),
    "at sign in the path": ("https://host/a@2x.png", "https://host/a@2x.png"),
    "at sign behind a port": ("docker://host:80/a@sha256:0", "docker://host:80/a@sha256:0"),
    "digest behind an at sign": (
        f"docker://quay.io/a/b@sha256:{'0' * 64}",
        f"docker://quay.io/a/b@sha256:{'0' * 64}",
    ),
    "not a URL that can be parsed": ("http://[::1/file", "http://[::1/file"),
    "a placeholder": ("http://HOST:PORT", "http://HOST:PORT"),
    "user and password": ("https://user:word@host:8080/file", "https://***@host:8080/file"),
    "user alone": ("https://token@host/file", "https://***@host/file"),
    "password alone": ("https://:word@host", "https://***@host"),
    "capital letters": ("HTTPS://user:word@HOST", "HTTPS://***@HOST"),
    "percent signs": ("https://us%40er:w%2Frd@host/", "https://***@host/"),
    "address of IPv6": ("http://u:p@[::1]:80/a@b", "http://***@[::1]:80/a@b"),
    "address of IPv6 without a user": ("http://[::1]:80/a@b", "http://[::1]:80/a@b"),
    "address of IPv6 that is not closed": ("http://u:p@[::1/file", "http://***@[::1/file"),
    "at sign in the password": ("http://user:p@ss@host/file", "http://***@host/file"),
    "blank in the password": ("http://user:pa ss@host/file", "http://***@host/file"),
    "slash in the password": ("http://user:p/ss@host/file", "http://***@host/file"),
    "question mark in the password": ("http://user:p?ss@host/file", "http://***@host/file"),
    "number sign in the password": ("http://user:p#s@s@host/file", "http://***@host/file"),
    "digits before a slash": ("http://user:1a/2@host/file", "http://***@host/file"),
    "colon in the password": ("http://user:80:p/s@host/file", "http://***@host/file"),
    "no scheme": ("//user:word@host/file", "//***@host/file"),
    "no slashes": ("user:word@host:3128", "***@host:3128"),
    "no slashes, slash in the password": ("user:wo/rd@host:3128", "***@host:3128"),
    "several in one": ("http://a:b@c,http://d:e@f", "http://***@c,http://***@f"),
    "parameters": (
        "https://host/f?a=1&X-Amz-Signature=abc&jwt=d=e&f=",
        "https://host/f?a=***&X-Amz-Signature=***&jwt=***&f=***",
    ),
    "parameter without a name": ("https://host/f?abc&d=e&f", "https://host/f?***&d=***&***"),
    "parameter with a URL": ("https://host/f?to=http://u:p@h/g?h", "https://host/f?to=***"),
    "parameter of the path": ("https://host/f;sid=abc?d=e", "https://host/f;sid=***"),
    "semicolons": ("https://host/f?a=b;c=d", "https://host/f?a=***;c=***"),
    "fragment": ("https://host/f#access_token=abc", "https://host/f#access_token=***"),
    "quote in a parameter": ("https://host/f?token=a'b", "https://host/f?token=***"),
    "empty query": ("https://host/f?#", "https://host/f?#"),
}


@pytest.mark.parametrize(("url", "shown"), REDACTED.values(), ids=REDACTED)
def test_redacted_hides_user_password_and_parameters(url: str, shown: str) -> None:
    assert redacted(url) == shown
    assert redacted(shown) == shown


TEXTS = {
    "user and password": (
        "E: http://user:pa@mirror.example/debian, a@b",
        "E: http://***@mirror.example/debian, a@b",
    ),
    "at sign in the password": ("see http://u:p@w@host/", "see http://***@host/"),
    "another scheme": ("socks5h://user:word@host:1080 failed", "socks5h://***@host:1080 failed"),
    "secret parameter, quoted": (
        'Get "https://host/blob?Signature=abc&a=b": EOF',
        'Get "https://host/blob?Signature=***&a=***": EOF',
    ),
    "secret parameter, last": (
        "Failed to fetch https://host/a?token=abc  404 Not Found",
        "Failed to fetch https://host/a?token=***  404 Not Found",
    ),
    "several URLs": ("http://a:b@c\nhttp://d:e@f", "http://***@c\nhttp://***@f"),
    "JSON": ('{"a":"http://a:b@c","d":"http://e:f@g"}', '{"a":"http://***@c","d":"http://***@g"}'),
    "command line": (
        "+ sh -c 'deb http://a:b@c/d sid main' http_proxy=http://e:f@g",
        "+ sh -c 'deb http://***@c/d sid main' http_proxy=http://***@g",
    ),
    "no URL": ("user:word@host", "user:word@host"),
}


@pytest.mark.parametrize(("text", "shown"), TEXTS.values(), ids=TEXTS)
def test_redacted_text_hides_them_in_every_url(text: str, shown: str) -> None:
    assert redacted_text(text) == shown


@pytest.mark.parametrize(
    ("url", "bare"),
    [
        ("http://u:p@ss@host:80/a@b?c", "http://host:80/a@b?c"),
        ("http://host/debian", "http://host/debian"),
    ],
)
def test_without_user_changes_nothing_else(url: str, bare: str) -> None:
    assert without_user(url) == bare


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
