"""Where the pod's object is found."""

from pathlib import Path

import pytest

from sidecar.adapters.kubernetes.address import NotInCluster, PodAddress, locate_pod

ENVIRON = {
    "KUBERNETES_SERVICE_HOST": "10.96.0.1",
    "KUBERNETES_SERVICE_PORT": "443",
    "POD_NAME": "app-0",
    "POD_NAMESPACE": "shop",
    "POD_UID": "u-1",
}


@pytest.fixture
def account(tmp_path: Path) -> Path:
    """The folder of a service account."""
    (tmp_path / "token").write_text("secret", encoding="ascii")
    (tmp_path / "namespace").write_text("elsewhere\n", encoding="ascii")
    return tmp_path


def test_environment_tells(account: Path) -> None:
    """The downward API and the kubelet's variables say everything."""
    assert PodAddress("https://10.96.0.1:443", account, "shop", "app-0", "u-1") == locate_pod(ENVIRON, account)


def test_ipv6_server(account: Path) -> None:
    """The address of an IPv6 cluster is put in brackets."""
    found = locate_pod({**ENVIRON, "KUBERNETES_SERVICE_HOST": "fd00::1"}, account)
    assert "https://[fd00::1]:443" == found.server


def test_account_names_namespace(account: Path) -> None:
    """Without POD_NAMESPACE the service account's file tells it; without POD_UID there is none."""
    found = locate_pod({**ENVIRON, "POD_NAMESPACE": "", "POD_UID": " "}, account)
    assert ("elsewhere", None) == (found.namespace, found.uid)


@pytest.mark.parametrize(
    ("variable", "in_pod"), [("KUBERNETES_SERVICE_HOST", False), ("POD_NAME", True), ("POD_NAMESPACE", True)]
)
def test_missing_variable(account: Path, variable: str, in_pod: bool) -> None:  # noqa: FBT001 - a column of the table
    """What is missing is named, and distinguished from no pod at all."""
    (account / "namespace").unlink()
    with pytest.raises(NotInCluster, match=f"^{variable} is not set") as caught:
        locate_pod({name: value for name, value in ENVIRON.items() if name != variable}, account)
    assert in_pod is caught.value.in_pod


def test_missing_token(account: Path) -> None:
    """A pod without a token does not want it, or forgot automountServiceAccountToken."""
    (account / "token").unlink()
    with pytest.raises(NotInCluster, match="automountServiceAccountToken") as caught:
        locate_pod(ENVIRON, account)
    assert not caught.value.in_pod
