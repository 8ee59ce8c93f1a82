"""The network policy permits what the sidecar itself needs."""

from typing import Any

import pytest

from tests.support.rendering import PRODUCT, Helm, Values, merge, only, sidecar

_POLICY = merge(PRODUCT, sidecar(networkPolicy={"enabled": True}))


def egress(helm: Helm, changes: Values) -> list[dict[str, Any]]:
    """Return the rules for outgoing traffic besides DNS and port 443."""
    rules = only(helm.render("marketplace-product", merge(_POLICY, changes)), "NetworkPolicy")["spec"]["egress"]
    assert [[53, 53], [443]] == [[each["port"] for each in rule["ports"]] for rule in rules[:2]]
    return list(rules[2:])


@pytest.mark.parametrize(
    ("proxy", "ports"),
    [
        ({}, []),
        ({"https": "http://proxy.example:3128"}, [3128]),
        ({"https": "http://user:p%40ss@proxy.example:3128/"}, [3128]),
        ({"https": "http://[fd00::1]:3128", "http": "http://[fd00::1]:3128"}, [3128]),
        ({"https": "http://a.example:3128", "http": "b.example:8080"}, [8080, 3128]),
        ({"https": "http://proxy.example"}, [80]),
        ({"https": "HTTPS://[fd00::1]"}, []),
        ({"https": "proxy.example:443"}, []),
    ],
)
def test_proxy_is_permitted(helm: Helm, proxy: Values, ports: list[int]) -> None:
    """The policy blocks no proxy that the sidecar has to use, and opens nothing else for it."""
    expected = [{"ports": [{"port": port, "protocol": "TCP"} for port in ports]}] if ports else []
    assert expected == egress(helm, sidecar(proxy=proxy))


def test_own_rules_follow(helm: Helm) -> None:
    """Rules of the values stay, next to the proxy's."""
    own = {"ports": [{"port": 5432, "protocol": "TCP"}]}
    changes = sidecar(proxy={"https": "http://proxy.example:3128"}, networkPolicy={"egress": [own]})
    assert [{"ports": [{"port": 3128, "protocol": "TCP"}]}, own] == egress(helm, changes)
