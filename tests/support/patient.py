"""The product with longer limits in real time, for commands whose verdict depends on how fast something answers.

`doctor` gives each check some seconds. On a busy machine a healthy answer takes longer, and the verdict would judge the
machine. PATIENT in the environment is the factor, 12 without it: a minute for each check. A test in which something
never answers waits for that limit and sets a smaller factor. Run as a program, with the product's arguments.
"""

import os
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from sidecar import api_client as local_api
from sidecar.adapters.kubernetes.pod import KubernetesPod
from sidecar.checks import access, check_run
from sidecar.cli import main
from sidecar.marketplace import probing

PROGRAM = ("-m", "tests.support.patient")
"""What the interpreter runs in place of the product's module."""
HANGING = {"PATIENT": "6"}
"""The environment of a test in which something never answers."""


def be_patient() -> None:
    """Make the limits of the checks longer."""
    factor = float(os.environ.get("PATIENT", "12"))
    for function in (check_run.run_checks, KubernetesPod.__init__, probing.ServiceProbe.__init__):
        _stretch(function, factor)
    probing.CONNECT_WITHIN *= factor
    access.ASK_WITHIN *= factor
    local_api._TIMEOUT *= factor


def _stretch(function: Callable[..., Any], factor: float) -> None:
    """Multiply the limits among the default arguments of a function."""
    defaults = function.__defaults__ or ()
    longer = tuple(each * factor if isinstance(each, float | timedelta) else each for each in defaults)
    assert longer != defaults, f"{function.__qualname__} has no limit among its default arguments any more"
    function.__defaults__ = longer


if __name__ == "__main__":
    be_patient()
    sys.exit(main())
