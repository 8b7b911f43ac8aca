"""The server inside a machine, outside of the guest's mount namespace: `python3 -m` runs it there.

It tells when the guest's manager is ready, answers questions about the guest (`answers`), and lets
commands in: OpenSSH's server talks through a virtio port to the ssh of the launch script, which
forwards connections to the socket of the answers. Only what is in `MODULES` of `seed` can be
imported here.
"""

from __future__ import annotations

import os
import socket
import subprocess  # the door of the host is closed here
import threading
import time
from pathlib import Path

from postroj.machine import answers

NOTIFY = "\0postroj/notify"
"""Where the guest's manager says `READY=1`, sd_notify(3)."""
SOCKET = "/run/answers"
PORT = "org.postroj.ssh"
"""Name of the virtio port."""
SETTINGS = (
    *("HostKey=/run/host_key", "PermitRootLogin=yes", "PermitEmptyPasswords=yes"),
    *("AuthenticationMethods=none", "UsePAM=no", "AcceptEnv=*", "MaxSessions=1000"),
    *("PidFile=none", "PrintMotd=no", "PrintLastLog=no", "StrictModes=no", "LogLevel=ERROR"),
    *("AllowTcpForwarding=local", "AllowStreamLocalForwarding=local", "LoginGraceTime=0"),
)
"""sshd_config(5): who can reach the port may do everything, so nobody has to prove anything."""
INTERVAL = 0.1
"""Seconds between two attempts to open the port."""
LAST_TO_DIE = b"-1000"
"""For `/proc/PID/oom_score_adj`, proc_pid_oom_score_adj(5)."""


def main() -> None:
    """Serve until the machine ends."""
    Path("/proc/self/oom_score_adj").write_bytes(LAST_TO_DIE)
    ready = threading.Event()
    notified = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notified.bind(NOTIFY)
    threading.Thread(target=listen, args=(notified, ready), daemon=True).start()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(SOCKET)
    listener.listen(64)
    threading.Thread(target=let_in, daemon=True).start()
    while True:
        connection, _ = listener.accept()
        answering = answers.Answering(connection, ready)
        threading.Thread(target=answering.serve, daemon=True).start()


def listen(notified: socket.socket, ready: threading.Event) -> None:
    """Wait for the manager; go on reading, or it would wait when the socket's queue is full."""
    while True:
        if b"READY=1" in notified.recv(8192).splitlines():
            ready.set()


def let_in() -> None:
    """Run one sshd after the other at the virtio port."""
    key = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "/run/host_key"]
    subprocess.run(key, check=True, stdin=subprocess.DEVNULL)
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    options = [word for setting in SETTINGS for word in ("-o", setting)]
    while True:
        try:
            port = os.open(find_port(), os.O_RDWR)
        except OSError:  # the kernel has not heard its name yet, or an old sshd has it open
            time.sleep(INTERVAL)
            continue
        argv = ["/usr/sbin/sshd", "-i", "-e", "-f", "/dev/null", *options]
        subprocess.run(argv, check=False, stdin=port, stdout=port)
        os.close(port)


def find_port() -> str:
    """Return the path of the virtio port."""
    for folder in Path("/sys/class/virtio-ports").iterdir():
        if (folder / "name").read_text().strip() == PORT:
            return f"/dev/{folder.name}"
    raise FileNotFoundError(PORT)


if __name__ == "__main__":
    main()
