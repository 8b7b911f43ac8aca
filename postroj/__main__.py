"""``python -m postroj``, and the program ``postroj``."""

import signal

# Until there is something to clean up, a Ctrl-C just ends us; where it is ignored, it stays so.
if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from postroj.cli import main

if __name__ == "__main__":
    main()
