"""The fence of tests without root and network: an audit hook, for Python programs they start, too.

Other programs are not watched. This module imports only what Python itself has imported, as it
costs each of these programs.
"""

import os
import sys

FENCED_PROGRAMS = ("systemd-nspawn", "mmdebstrap")
LOOPBACK = ("127.", "::1", "localhost")
CONNECTING = ("socket.connect", "socket.sendto", "socket.sendmsg")
RESOLVING = ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr")
OF_THE_SYSTEM = ("/usr/", "/bin", "/sbin")
STARTING = ("subprocess.Popen", "os.exec", "os.posix_spawn")


class FencedError(AssertionError):
    """A test without root and network reached for the world."""


def folder_of(name: str, env: object) -> str:
    """Return the folder in which a program is found, that of the system's if it is in none."""
    variables = env if isinstance(env, dict) else os.environ
    folders = str(variables.get("PATH", "")).split(os.pathsep)
    return next((one for one in folders if os.access(f"{one}/{name}", os.X_OK)), "/usr/bin")


class Fence:
    """An audit hook, which Python cannot take back, and whether it bites."""

    up = False

    def __call__(self, event: str, args: tuple[object, ...]) -> None:
        """Judge what the interpreter is about to do."""
        if not self.up:
            return
        if event in STARTING:
            self.judge_program(args[1], args[-1])
        elif event in CONNECTING:
            self.judge_address(args[1])
        elif event in RESOLVING:
            self.judge_name(args[0])

    @staticmethod
    def judge_program(argv: object, env: object) -> None:
        """Refuse to start a fenced program, whatever wraps it, unless it is the fake of a test."""
        words = [*map(os.fsdecode, argv)] if isinstance(argv, (list, tuple)) else [str(argv)]
        for place, word in enumerate(words):
            folder, name = os.path.split(word)
            if name not in FENCED_PROGRAMS or words[place + 1 :] == ["--version"]:
                continue
            if (folder or folder_of(name, env)).startswith(OF_THE_SYSTEM):
                message = f"only tests in tests/integration may start '{name}'"
                raise FencedError(message)

    @staticmethod
    def judge_address(address: object) -> None:
        """Refuse an address of the internet protocols that is not on loopback."""
        if isinstance(address, tuple) and not str(address[0]).startswith(LOOPBACK):
            message = f"only tests in tests/integration may talk to '{address[0]}'"
            raise FencedError(message)

    @staticmethod
    def judge_name(host: object) -> None:
        """Refuse a name that a server must be asked for; an address is none."""
        name = host.decode() if isinstance(host, bytes) else str(host or "")
        is_address = not name or ":" in name or name.replace(".", "").isdigit()
        if not is_address and not name.startswith(LOOPBACK):
            message = f"only tests in tests/integration may look up '{name}'"
            raise FencedError(message)


FENCE = Fence()
FENCE.up = __name__ == "sitecustomize"  # in a program that a test has started
sys.addaudithook(FENCE)
