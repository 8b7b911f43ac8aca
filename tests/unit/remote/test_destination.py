"""Names of other machines, and the command lines of ssh for them."""

from __future__ import annotations

import shlex

import pytest

from postroj.errors import UsageError
from postroj.remote.destination import (
    Ways,
    as_words,
    attach_argv,
    check,
    serve_argv,
    ways_of,
)

WAYS = Ways(socket="/tmp/x/socket", alive=True)


@pytest.mark.parametrize(
    "text",
    [
        *("box", "me@box", "box.example.org", "my_box-2", "192.0.2.1", "fe80::1%eth0", "::1"),
        *("ssh://box", "ssh://me@box", "ssh://box:2222", "ssh://me@[::1]:22", "DOM\\me@box"),
    ],
)
def test_check_accepts_what_ssh_does(text: str) -> None:
    assert check(text) == text


def test_check_removes_a_slash_at_the_end() -> None:
    assert check("ssh://box:22/") == "ssh://box:22"


@pytest.mark.parametrize(
    "text",
    [
        *("", "-oProxyCommand=touch x", "-F/x", "ssh://-oProxyCommand=x", "-x@box", "me@-x"),
        *("box;id", "$(id)", "`id`", "box id", "a\nb", "me@bo'x", "http://box", "ssh://", "box:22"),
        *("ssh://box/path", "ssh://me:secret@box", "ssh://box:port", "ssh://box:22\n"),
    ],
)
def test_check_refuses_options_and_words_of_the_shell(text: str) -> None:
    with pytest.raises(UsageError, match="cannot be a machine that ssh connects to") as caught:
        check(text)
    assert "ssh://HOST:PORT" in caught.value.hint


def test_serve_argv_is_one_word_for_the_other_shell_behind_the_destination() -> None:
    argv = serve_argv("me@box", WAYS)
    *options, dashes, destination, command = argv
    assert (dashes, destination) == ("--", "me@box")
    assert "ControlPath=/tmp/x/socket" in options and "ControlMaster=yes" in options
    assert "ServerAliveInterval=15" in options
    assert shlex.split(command)[:2] == ["sh", "-c"]


def test_attach_argv_quotes_the_folder_for_the_shell() -> None:
    argv = attach_argv("box", Ways(), "/tmp/it's; rm -rf", with_terminal=False)
    assert shlex.split(argv[-1])[-1] == "/tmp/it's; rm -rf"
    assert "-T" in argv and "-tt" not in argv
    assert not [word for word in argv if word.startswith(("Control", "ServerAlive"))]
    assert "-tt" in attach_argv("box", Ways(), "/tmp/x", with_terminal=True)


def test_ways_of_leave_alone_what_the_user_has_configured() -> None:
    usual = "host box\nserveraliveinterval 0\n"
    assert ways_of(usual, "/s") == Ways(socket="/s", alive=True)
    assert ways_of("serveraliveinterval 60\ncontrolpath /home/me/mux\n", "/s") == Ways()
    assert ways_of("controlpath none\n", "/s").socket == "/s"


def test_as_words_are_what_people_type() -> None:
    assert as_words("box") == ("box",)
    assert as_words("ssh://me@box") == ("me@box",)
    assert as_words("ssh://me@box:2222") == ("-p", "2222", "me@box")
    assert as_words("ssh://[::1]:22") == ("-p", "22", "::1")
    assert as_words("ssh://[::1]") == ("::1",)
