"""The product in a pod whose names are looked up in a table, and whose set-up is looked at every second.

Names of AWS that the table (the file in NAMES: host to port of this machine) lacks have no address, so nothing
here ever reaches AWS; the lookup of one without a port never ends, which a file next to the table tells. The service
account's files are in the folder in ACCOUNT. Run as a program, with the product's arguments.
"""

import json
import os
import socket
import sys
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

from sidecar.adapters.kubernetes import address
from sidecar.cli import main
from sidecar.services import setup_watch

_look_up = socket.getaddrinfo


def look_up(host: Any, port: Any, *arguments: Any, **options: Any) -> Any:
    """Look a name of AWS up in the table, and any other as ever."""
    if not str(host).endswith(".amazonaws.com"):
        return _look_up(host, port, *arguments, **options)
    path = Path(os.environ["NAMES"])
    table = json.loads(path.read_text(encoding="utf-8"))
    if host not in table:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    if table[host] is None:
        path.with_suffix(".hanging").touch()
        threading.Event().wait()
    return _look_up("127.0.0.1", table[host], *arguments, **options)


def live() -> int:
    """Run the product."""
    # Before anything is loaded that takes the folder for its default.
    address.ACCOUNT = Path(os.environ.get("ACCOUNT", "/nowhere"))
    from sidecar.app import setup_watches  # noqa: PLC0415
    from tests.support.patient import be_patient  # noqa: PLC0415

    socket.getaddrinfo = look_up
    setup_watch.RECHECK_INTERVAL = timedelta(seconds=1)
    setup_watches.SPREAD = timedelta()
    if "doctor" in sys.argv:
        be_patient()
    return main()


if __name__ == "__main__":
    sys.exit(live())
