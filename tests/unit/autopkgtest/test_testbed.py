"""What the testbed reads from its guest, from autopkgtest and from its options."""

from __future__ import annotations

from contextlib import nullcontext

import pytest

from postroj.autopkgtest import testbed
from postroj.autopkgtest.testbed import (
    GuestTestbed,
    Wanted,
    assignment,
    proxy_lines,
    usual_user,
)
from postroj.container.spec import GuestSpec
from postroj.errors import UsageError
from postroj.model import Image, Manager

PASSWD = """\
root:x:0:0:root:/root:/bin/bash
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
systemd-coredump:x:994:994::/:/usr/sbin/nologin
"""


@pytest.mark.parametrize(
    ("lines", "user"),
    [
        ("", ""),
        ("bob:x:1001:1001::/home/bob:/bin/sh\nalice:x:1000:1000::/home/alice:/bin/sh\n", "alice"),
        ("late:x:60000:60000::/:/bin/sh\n", ""),
        ("broken\n:::\nx:x:many:1::/:/bin/sh\nlast:x:59999:1::/:/bin/sh", "last"),
    ],
)
def test_usual_user_is_the_first_person(lines: str, user: str) -> None:
    assert usual_user(PASSWD + lines) == user


@pytest.mark.parametrize(
    ("text", "pair"),
    [
        ('AUTOPKGTEST_TMP="/var/tmp/x/y"', ("AUTOPKGTEST_TMP", "/var/tmp/x/y")),
        ("A=b", ("A", "b")),
        ('A="b c=d"', ("A", "b c=d")),
        ("A=", ("A", "")),
    ],
)
def test_assignment_has_the_value_without_its_quotes(text: str, pair: tuple[str, str]) -> None:
    assert assignment(text) == pair


def test_proxy_lines_name_each_kind_once() -> None:
    assert proxy_lines("http://p.example:1", None) == 'Acquire::http::Proxy "http://p.example:1";\n'
    assert proxy_lines(None, "http://p.example:2").startswith("Acquire::https::Proxy ")
    assert proxy_lines(None, None) == ""


@pytest.fixture
def closed() -> GuestTestbed:
    """A testbed that was never opened."""
    wanted = Wanted(
        image="other",
        architecture="",
        spec=GuestSpec(layers=()),
        setup=(),
        enter=("enter",),
        copy_timeout=1,
    )
    return GuestTestbed(wanted)


@pytest.mark.parametrize("manager", [None, Manager.DNF])
def test_image_without_apt_is_refused(
    closed: GuestTestbed, manager: Manager | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = Image(name="other", architecture="x86_64", layers=(), manager=manager)
    monkeypatch.setattr(testbed, "obtain", lambda *_: nullcontext(image))
    with pytest.raises(UsageError, match="'other' has no apt, which autopkgtest needs"), closed:
        closed.open()


def test_closed_testbed_can_be_closed_and_nothing_else(closed: GuestTestbed) -> None:
    closed.close()
    closed.explain()
    for use in (closed.revert, lambda: closed.copy_in("/a", "/b"), lambda: closed.execute_argv):
        with pytest.raises(UsageError, match="a testbed that is not open"):
            use()
