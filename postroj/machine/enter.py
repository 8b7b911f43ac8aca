"""How a command gets into the guest of a machine, from the root file system of the tools.

With a terminal it is a shell script that sshd runs, else an argument list for the server in the
machine (`commands`). The kernel may kill the command for lack of memory, but not what runs it.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from postroj.container.enter.nsenter import ENVIRONMENT, in_directory, with_variables

if TYPE_CHECKING:
    from postroj.container.guest import Command

# The script reports a signal that killed the command as 128 + N, which ssh does not, and leaves a
# link by which the command can be ended.
SCRIPT = """mkdir -p /run/commands && cd /run/commands && ln -s $$ {token}
unset SSH_CLIENT SSH_CONNECTION SSH_TTY MAIL PWD OLDPWD
umask 022
echo 0 >/proc/self/oom_score_adj
exec 3>&2 2>/dev/null
(exec {enter} 2>&3 3>&-)
status=$?
rm -f {token}
exit $status"""
UNPROTECTED = ("/bin/sh", "-c", 'echo 0 >/proc/self/oom_score_adj; unset PWD; exec "$@"', "sh")
NSENTER = (
    *("/usr/bin/nsenter", "--mount=/proc/1/ns/mnt", "--root=/proc/1/root"),
    *("--wd=/proc/1/root", "--"),
)
FIXED = {name: value for name, value in ENVIRONMENT.items() if name != "container"}


def script(command: Command, token: str, terminal: str) -> str:
    """Return the script for a command; `terminal` is the value of `TERM`.

    `token` is a new one for each command.
    """
    variables = {**FIXED, "TERM": terminal, **command.env}
    pairs = [f"{name}={value}" for name, value in variables.items()]
    words = [*NSENTER, "/usr/bin/env", *pairs, *in_directory(command)]
    return SCRIPT.format(token=token, enter=shlex.join(words))


def request(command: Command, token: str) -> dict[str, object]:
    """Return what `call` asks for."""
    return {
        "argv": [*UNPROTECTED, *NSENTER, *with_variables(command), *in_directory(command)],
        "env": FIXED,
        "secrets": [*command.secrets],
        "token": token,
    }
