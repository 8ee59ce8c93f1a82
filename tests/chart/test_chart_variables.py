"""Variables of the sidecar's container are what the values say: Kubernetes replaces $(NAME) and $$ in a value."""

import re

from tests.support.rendering import PRODUCT, Helm, config, containers, merge, pod_template, sidecar

_TEXT = "a$$b$(SERVICE)$(c$"
_ROLE = f"arn:aws:iam::111122223333:role/{_TEXT}"
_PROXY = f"http://metering:{_TEXT}@proxy.example:3128"
_GIVEN = merge(
    merge(PRODUCT, sidecar(productFromImage=True, extraEnv=[{"name": "OTHER", "value": "$(SERVICE)"}])),
    merge(
        config(
            product={"code": "", "public_keys": None},
            metering={"dimensions": []},
            marketplace={"region": "eu-west-1"},
            api={"socket": f"/var/lib/marketplace-sidecar/{_TEXT}", "token_file": f"/run/{_TEXT}"},
        ),
        sidecar(
            serviceAccount={"roleArn": _ROLE, "webIdentity": "chart"},
            proxy={"http": _PROXY, "https": _PROXY, "exclude": f"{_TEXT}.example"},
        ),
    ),
)


def in_pod(value: str) -> str:
    """Return the value that the kubelet gives a container in which each variable is set to `other`."""
    return re.sub(r"\$(\$|\([^)]*\))", lambda found: "$" if found[1] == "$" else "other", value)


def test_texts_reach_the_sidecar_unchanged(helm: Helm) -> None:
    """A dollar sign in a value is a dollar sign in the pod; `extraEnv` is as Kubernetes writes it."""
    container = containers(pod_template(helm.render("marketplace-product", _GIVEN)))["marketplace-sidecar"]
    found = {one["name"]: in_pod(one["value"]) for one in container["env"] if "value" in one}
    expected = {
        "HTTP_PROXY": _PROXY,
        "HTTPS_PROXY": _PROXY,
        "NO_PROXY": f"127.0.0.1,localhost,::1,169.254.0.0/16,.svc,.cluster.local,other,{_TEXT}.example",
        "AWS_ROLE_ARN": _ROLE,
        "SIDECAR_API__SOCKET": f"/var/lib/marketplace-sidecar/{_TEXT}",
        "SIDECAR_API__TOKEN_FILE": f"/run/{_TEXT}",
        "OTHER": "other",
    }
    assert expected == {name: found[name] for name in expected}
