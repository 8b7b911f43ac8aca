"""``python -m postroj``, and the program ``postroj``."""

import gc
import signal

# collecting what imports make takes a tenth of the time until a guest is started
gc.set_threshold(50_000)

# Until there is something to clean up, a Ctrl-C just ends us; where it is ignored, it stays so.
if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from postroj.cli import main  # noqa: E402 not before the above

if __name__ == "__main__":
    main()
