"""The garbage collector of the process, where it costs more than it frees."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def paused_collector() -> Iterator[None]:
    """Turn the collector off while many objects are made and no cycles.

    The collector would look at the objects of a page with 50,000 series again and again while they are made, a sixth
    of the page's processor time. Where two threads overlap, it is on again when the first one to begin ends.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
