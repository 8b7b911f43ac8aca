"""The shell script by which sshd in a machine runs a command in the guest.

sshd runs outside of the guest's mount namespace. The script reports a signal that killed the
command as 128 + N, which ssh does not, and leaves a link by which the command can be ended. The
kernel may kill the command for lack of memory, but not sshd.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from postroj.container.enter.nsenter import ENVIRONMENT, in_directory

if TYPE_CHECKING:
    from postroj.container.guest import Command

BEGIN = """mkdir -p /run/commands && cd /run/commands && ln -s $$ {token}
unset SSH_CLIENT SSH_CONNECTION SSH_TTY MAIL PWD OLDPWD
umask 022
echo 0 >/proc/self/oom_score_adj
"""
WITH_TERMINAL = """exec 3>&2 2>/dev/null
(exec {enter} 2>&3 3>&-)
status=$?
rm -f {token}
exit $status"""
# sshd waits for the end of its pipes, which a process may hold that the command has left
WITH_PIPES = """mkfifo {token}.out {token}.err
cat <{token}.out &
out=$!
cat <{token}.err >&2 &
err=$!
exec 2>/dev/null
(exec {enter} >{token}.out 2>{token}.err)
status=$?
(sleep {patience}; kill $out $err) </dev/null >/dev/null &
late=$!
wait $out $err
kill $late
rm -f {token} {token}.out {token}.err
exit $status"""
DRAINING = 2
"""Seconds in which what a command has written is read, if others still have its pipes open."""
NSENTER = ("nsenter", "--mount=/proc/1/ns/mnt", "--root=/proc/1/root", "--wd=/proc/1/root", "--")


def script(command: Command, token: str, terminal: str | None = None) -> str:
    """Return the script for a command; `terminal` is the value of `TERM` if it gets one.

    `token` is a new one for each command.
    """
    kind = {} if terminal is None else {"TERM": terminal}
    fixed = {name: value for name, value in ENVIRONMENT.items() if name != "container"}
    variables = {**fixed, **kind, **command.env}
    pairs = [f"{name}={value}" for name, value in variables.items()]
    words = [*NSENTER, "/usr/bin/env", *pairs, *in_directory(command)]
    script = BEGIN + (WITH_PIPES if terminal is None else WITH_TERMINAL)
    return script.format(token=token, enter=shlex.join(words), patience=DRAINING)
