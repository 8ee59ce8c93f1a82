"""Runs a command of the product that ends with the process that started it.

Its standard input is a pipe that only that process holds open. A killed test run closes it, so it leaves no emulator
and no sidecar behind.
"""

import os
import signal
import sys
import threading

from sidecar.cli import main


def _end_with_parent() -> None:
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, name="parent-watch", daemon=True).start()
    sys.exit(main())
