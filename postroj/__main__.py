"""Entry points of ``python -m postroj`` and the programs of postroj."""

import gc
import signal
import sys
from typing import NoReturn

# garbage collections during imports cost a tenth of the time until a guest starts
gc.set_threshold(50_000)

# Ctrl-C just kills us until there is something to clean up; ignored, it stays ignored
if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

if sys.platform != "linux":
    from postroj import windows

    windows.fill_in()

from postroj import cli  # noqa: E402 needs the lines above
from postroj.remote.destination import END  # noqa: E402


def main() -> NoReturn:
    """Run the program ``postroj``, perhaps as the other end of another one."""
    if sys.argv[1:2] == [END]:
        from postroj.remote import far

        far.main(sys.argv[2:], cli.main)
    cli.main()


def serve_autopkgtest() -> NoReturn:
    """Run the program ``autopkgtest-virt-postroj``."""
    from postroj.cli import autopkgtest

    cli.main(autopkgtest.serve, autopkgtest.PROGRAM)


if __name__ == "__main__":
    main()
