"""The network policy permits what the sidecar itself needs."""

from typing import Any

import pytest

from tests.support.rendering import PRODUCT, Helm, Refused, Values, config, merge, only, sidecar

_POLICY = merge(PRODUCT, sidecar(networkPolicy={"enabled": True}))
_CONTRACT = config(product={"pricing": "contract", "id": "prod-abc", "public_keys": None}, metering={"dimensions": []})
_NO_ROLE = sidecar(serviceAccount={"roleArn": ""})
_AGENT = {
    "to": [{"ipBlock": {"cidr": "169.254.170.23/32"}}, {"ipBlock": {"cidr": "fd00:ec2::23/128"}}],
    "ports": [{"port": 80, "protocol": "TCP"}],
}


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
        ({"https": "HTTP://[fd00::1]:65535"}, [65535]),
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


@pytest.mark.parametrize(
    "changes", [_NO_ROLE, sidecar(serviceAccount={"roleArn": "", "create": False, "name": "mine"})]
)
def test_contract_takes_pod_identity(helm: Helm, changes: Values) -> None:
    """A contract price without dimensions calls License Manager alone: it needs no role of IRSA, and the agent."""
    assert [_AGENT] == egress(helm, merge(_CONTRACT, changes))
    assert [] == egress(helm, _CONTRACT)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        merge(_CONTRACT, config(metering={"dimensions": [{"name": "overage"}]})),
        config(product={"pricing": "custom", "id": "prod-abc"}, entitlement={"probe": "license"}),
    ],
    ids=["hourly", "overage", "license probe"],
)
def test_metering_takes_no_pod_identity(helm: Helm, changes: Values) -> None:
    """Whatever calls AWS Marketplace Metering needs IRSA."""
    with pytest.raises(Refused) as refused:
        egress(helm, merge(changes, _NO_ROLE))
    assert [True] == [
        problem.startswith("sidecar.serviceAccount.roleArn: is missing") for problem in refused.value.problems
    ]


def test_contract_in_the_image_has_a_way(helm: Helm) -> None:
    """The chart does not know the price in an image, and names what a contract price does."""
    image = merge(
        sidecar(productFromImage=True), config(product={"code": "", "public_keys": None}, metering={"dimensions": []})
    )
    with pytest.raises(Refused, match="set create to false and name the account"):
        egress(helm, merge(image, _NO_ROLE))
    assert [_AGENT] == egress(
        helm, merge(image, sidecar(serviceAccount={"roleArn": "", "create": False, "name": "mine"}))
    )
