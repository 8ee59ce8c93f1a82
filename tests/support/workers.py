"""Divides tests among the workers of pytest-xdist."""

from xdist.scheduler import LoadFileScheduling

NODE = "tests/cluster/"
"""The folder of the tests that need a Kubernetes node."""


def unit_of(nodeid: str) -> str:
    """Return the name that the tests of one worker share: their module, or the folder of the tests that need a node."""
    return NODE if nodeid.startswith(NODE) else nodeid.partition("::")[0]


class ByModule(LoadFileScheduling):  # type: ignore[misc] # it has no types
    """Gives each unit to one worker, so that a run has one node; the order is that of the collection."""

    def _split_scope(self, nodeid: str) -> str:
        return unit_of(nodeid)
