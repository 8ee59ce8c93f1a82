"""Which parts of the kubernetes package are loaded."""

import json
import subprocess
import sys

import pytest

from sidecar.adapters.kubernetes import package
from tests.support.tools import PATIENCE

LOADED = """
import json, sys
from sidecar.adapters.kubernetes.client import ClusterClient
from sidecar.adapters.kubernetes.package import load_package
load_package()
print(json.dumps(sorted(sys.modules)))
"""
WHOLE = """
from sidecar.adapters.kubernetes.package import load_package
package = load_package()
from kubernetes import client, utils
assert client.rest.RESTClientObject is package.client
assert utils.create_from_dict
"""


def test_only_the_client_is_loaded() -> None:
    """No model, no class of an API and no other part of the package costs memory."""
    ran = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, check=True, timeout=PATIENCE)
    loaded = set(json.loads(ran.stdout))
    assert {
        "kubernetes.client",
        "kubernetes.client.configuration",
        "kubernetes.client.exceptions",
        "kubernetes.client.rest",
        "kubernetes.utils._retry_base",
        "kubernetes.utils.keepalive",
        "kubernetes.utils.retry",
    } == {name for name in loaded if name.startswith("kubernetes")}
    assert set() == loaded & {"pydantic", "requests", "websocket", "dateutil", "oauthlib"}


def test_whole_package_loads_later() -> None:
    """A program that loads the whole package afterwards gets it whole."""
    ran = subprocess.run([sys.executable, "-c", WHOLE], capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert 0 == ran.returncode, ran.stderr


def test_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the package, the import fails with its name."""
    monkeypatch.setattr(package, "_INITS", ("kubernetes_of_another_name",))
    with pytest.raises(ModuleNotFoundError, match="kubernetes_of_another_name"):
        package.load_package()
