"""The real sshd on the loopback interface, and an ssh that knows it as `box`; or a stand-in."""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

SERVER = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {work}/host
PidFile {work}/pid
AuthorizedKeysFile none
AuthorizedKeysCommand /usr/bin/cat {work}/user.pub
AuthorizedKeysCommandUser root
StrictModes yes
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
PermitRootLogin yes
PrintMotd no
SetEnv PATH={path} TMPDIR={folders} POSTROJ_STATE_DIR={state} POSTROJ_HOST=never.invalid
"""
CLIENT = """\
Host box nokey stranger
    HostName 127.0.0.1
    Port {port}
    User root
    IdentitiesOnly yes
    UserKnownHostsFile {work}/known_hosts
    StrictHostKeyChecking yes
Host box stranger
    IdentityFile {work}/user
Host stranger
    HostKeyAlias another
"""
PRIVILEGES = Path("/run/sshd")
"""A folder of sshd, which the init script of its package makes."""


class Sshd:
    """A server; `work` is a folder of its own, with short paths for sockets."""

    def __init__(self, work: Path) -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            self.port: int = unused.getsockname()[1]
        self.work = work
        self.folders, self.state = work / "t", work / "s"
        self.near = work / "n"
        for folder in (self.folders, self.state, self.near, work / "bin", work / "stub"):
            folder.mkdir()
        for name in ("host", "user"):
            argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(work / name)]
            subprocess.run(argv, check=True)
        key = (work / "host.pub").read_text()
        (work / "known_hosts").write_text(f"[127.0.0.1]:{self.port} {key}")
        (work / "client").write_text(CLIENT.format(work=work, port=self.port))
        usual = os.environ["PATH"]
        path = f"{work}/stub:{Path(sys.executable).parent}:{usual}"
        (work / "server").write_text(
            SERVER.format(
                work=work, port=self.port, path=path, folders=self.folders, state=self.state
            )
        )
        ssh = work / "bin" / "ssh"
        ssh.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {work}/client "$@"\n')
        ssh.chmod(0o755)
        self.environment = os.environ | {"PATH": f"{work}/bin:{usual}", "TMPDIR": str(self.near)}
        """In it `ssh` has the configuration of this server instead of the user's."""

    @property
    def left(self) -> list[Path]:
        """What commands have left: files of theirs at both ends, and run directories of guests."""
        return [*self.folders.iterdir(), *self.state.glob("[!.]*"), *self.near.iterdir()]

    def __enter__(self) -> Self:
        """Start, and wait until it listens."""
        PRIVILEGES.mkdir(exist_ok=True)
        with (self.work / "log").open("wb") as log:
            argv = [sshd(), "-D", "-e", "-f", str(self.work / "server")]
            self.process = subprocess.Popen(argv, stderr=log)
        deadline = time.monotonic() + 10
        while self.process.poll() is None and time.monotonic() < deadline:
            with suppress(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", self.port)).close()
                return self
            time.sleep(0.01)
        self.process.kill()
        raise AssertionError((self.work / "log").read_text())

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop."""
        self.process.terminate()
        self.process.wait()


def sshd() -> str:
    """Return the absolute path of sshd, which it needs to start itself again."""
    found = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
    assert found, "the package openssh-server is missing"
    return found


STAND_IN = """\
#!/bin/sh
case " $* " in *" -G "*) exit 0 ;; esac
for last; do :; done
exec {prefix} sh -c "$last"
"""


def stand_in(folder: Path, *prefix: object) -> dict[str, str]:
    """Return an environment whose `ssh` runs commands here, behind a prefix."""
    ssh = folder / "ssh"
    ssh.write_text(STAND_IN.format(prefix=shlex.join(map(str, prefix))))
    ssh.chmod(0o755)
    programs = Path(sys.executable).parent
    return os.environ | {"PATH": f"{folder}:{programs}:{os.environ['PATH']}"}
