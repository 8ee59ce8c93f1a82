"""Takes coverage away for a time, from this process and from those that it starts."""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

VARIABLE = "COVERAGE_PROCESS_CONFIG"
"""By this variable a child process is measured, too (`patch` in pyproject.toml)."""


@contextmanager
def unmeasured() -> Iterator[None]:
    """Measure nothing until the block ends.

    The mark `no_cover` of pytest-cov does not do it in a worker: there `patch` has begun a second measurement, which
    continues when the first one is paused.
    """
    children, tracer, tracer_of_threads = os.environ.pop(VARIABLE, None), sys.gettrace(), threading.gettrace()
    sys.settrace(None)
    threading.settrace(None)
    try:
        yield
    finally:
        threading.settrace(tracer_of_threads)
        sys.settrace(tracer)
        if children is not None:
            os.environ[VARIABLE] = children
