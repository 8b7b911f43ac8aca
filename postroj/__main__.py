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

from postroj.cli import main  # noqa: E402 needs the lines above


def serve_autopkgtest() -> NoReturn:
    """Run the program ``autopkgtest-virt-postroj``."""
    from postroj.cli import autopkgtest

    main(autopkgtest.serve, autopkgtest.PROGRAM)


if __name__ == "__main__":
    main()
