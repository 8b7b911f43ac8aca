"""The real nginx on the loopback interface."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType
    from typing import Self

CONFIGURATION = """\
daemon off;
master_process off;
pid {work}/pid;
error_log {work}/error.log;
events {{}}
http {{
    log_format short '$status $uri';
    access_log {work}/access.log short;
    client_body_temp_path {work}/body;
    proxy_temp_path {work}/proxy;
    fastcgi_temp_path {work}/fastcgi;
    uwsgi_temp_path {work}/uwsgi;
    scgi_temp_path {work}/scgi;
    {http}
    server {{
        listen 127.0.0.1:{port} {listen};
        root {folder};
        {server}
    }}
}}
"""


class Nginx:
    """A server of a folder; `work` is a folder of its own."""

    def __init__(
        self, folder: Path, work: Path, *, server: str = "", http: str = "", listen: str = ""
    ) -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            self.port: int = unused.getsockname()[1]
        self.work = work
        self.url = f"http{'s' if 'ssl' in listen else ''}://127.0.0.1:{self.port}"
        self.configuration = work / "nginx.conf"
        work.mkdir()
        self.configuration.write_text(
            CONFIGURATION.format(
                work=work, folder=folder, port=self.port, server=server, http=http, listen=listen
            )
        )

    @property
    def answers(self) -> list[str]:
        """Status and path of all answers so far."""
        return (self.work / "access.log").read_text().splitlines()

    def start(self) -> None:
        """Start, and wait until it listens."""
        # an error before it has read where to log goes to where it is logged anyway
        argv = [nginx(), "-e", str(self.work / "error.log"), "-c", str(self.configuration)]
        self.process = subprocess.Popen(argv)
        deadline = time.monotonic() + 10
        while self.process.poll() is None and time.monotonic() < deadline:
            with suppress(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            time.sleep(0.01)
        self.stop()
        raise AssertionError((self.work / "error.log").read_text())

    def stop(self) -> None:
        """Stop at once, whoever is being served."""
        self.process.terminate()
        self.process.wait()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


def nginx() -> str:
    """Return the path of nginx, which users often have not on theirs."""
    path = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
    assert path, "nginx is not installed"
    return path
