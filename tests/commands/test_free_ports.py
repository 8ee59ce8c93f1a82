"""The ports of the listeners that a process starts."""

import pytest

from sidecar.commands.demo import environment
from sidecar.commands.demo.environment import ScenarioError, free_port


def test_each_port_is_given_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two listeners the second one is not given the port that the first one has not yet taken."""
    monkeypatch.setattr(environment, "_GIVEN", set())
    monkeypatch.setattr(environment, "_PORTS", range(30_000, 30_200))
    given = [free_port() for _ in range(50)]
    assert 50 == len(set(given))
    monkeypatch.setattr(environment, "_PORTS", range(given[0], given[0] + 1))
    with pytest.raises(ScenarioError, match="is free"):
        free_port()
