"""A sidecar on the ledger of another pod: refused while that pod runs, and told of what it takes over."""

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.apiserver import EVENTS, HANG, ApiServer, pod

if TYPE_CHECKING:
    from tests.support.processes import Site

pytestmark = pytest.mark.process

OLD = "/api/v1/namespaces/shop/pods/app-old"
OLD_UID = "6f1d7c1e-0000-4000-8000-00000000000b"
_LIVE_POD = Path(__file__).parents[1] / "support" / "live_pod.py"


def old_pod() -> dict[str, Any]:
    """Return the object of a pod that runs."""
    return pod(metadata={"name": "app-old", "namespace": "shop", "uid": OLD_UID})


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ApiServer]:
    """An API server that knows the pod and the one before it."""
    server = ApiServer(tmp_path / "account")
    server.others[OLD] = old_pod()
    yield server
    server.close()


@pytest.fixture
def inherited(site: "Site", server: ApiServer) -> "Site":
    """A site whose ledger another pod has left with usage of 2 that is open."""
    site.program = (str(_LIVE_POD),)
    old = {"POD_NAME": "app-old", "POD_NAMESPACE": "shop", "POD_UID": OLD_UID}
    sidecar = site.start_entitled(variables=old)
    assert (1, 0) == sidecar.report({"dimension": "requests", "quantity": "2"})
    sidecar.kill()
    return site


def variables(server: ApiServer) -> dict[str, str]:
    """Return the successor's environment."""
    return {**server.environ, "ACCOUNT": str(server.account)}


def test_successor_is_refused_while_pod_runs(inherited: "Site", server: ApiServer) -> None:
    """While the pod that had the ledger runs, exit 4 names it and the cure, and the ledger stays that pod's."""
    code, said = inherited.refuse(**variables(server))
    assert 4 == code
    for words in ("shop/app-old", OLD_UID, "still runs", "kubectl --namespace shop delete pod app-old", "--read-only"):
        assert words in said
    assert "ledger.adopted" not in said
    del server.others[OLD]
    sidecar = inherited.start_entitled(variables=variables(server))
    assert OLD_UID == sidecar.await_event("ledger.adopted")["earlier_pod"]


def deleted(server: ApiServer) -> None:
    """The pod is being deleted."""
    server.others[OLD]["metadata"]["deletionTimestamp"] = "2026-11-23T10:30:00Z"


def replaced(server: ApiServer) -> None:
    """Another pod has its name."""
    server.others[OLD]["metadata"]["uid"] = "another"


def not_ready(server: ApiServer) -> None:
    """It is not ready, or its node is silent."""
    server.others[OLD]["status"]["conditions"][0]["status"] = "False"


def ended(server: ApiServer) -> None:
    """It has ended."""
    server.others[OLD]["status"]["phase"] = "Failed"


def gone(server: ApiServer) -> None:
    """There is no such pod."""
    del server.others[OLD]


def forbidden(server: ApiServer) -> None:
    """The Role does not allow the question."""
    server.faults[OLD] = 403


def silent(server: ApiServer) -> None:
    """The API server does not answer."""
    server.faults[OLD] = HANG


def senseless(server: ApiServer) -> None:
    """The answer is no pod."""
    server.others[OLD] = {"kind": "Status"}


@pytest.mark.parametrize(
    ("change", "runs"),
    [
        (deleted, "no"),
        (replaced, "no"),
        (not_ready, "no"),
        (ended, "no"),
        (gone, "no"),
        (forbidden, "unknown"),
        (silent, "unknown"),
        (senseless, "unknown"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_successor_goes_on(inherited: "Site", server: ApiServer, change: Any, runs: str) -> None:
    """A volume of a pod that is gone, or of which nothing certain is known, is taken over."""
    change(server)
    sidecar = inherited.start_entitled(variables=variables(server))
    assert {"pod": OLD_UID, "place": "shop/app-old", "runs": runs}.items() <= sidecar.await_event(
        "ledger.predecessor_asked"
    ).items()


def test_adoption_is_seen(inherited: "Site", server: ApiServer) -> None:
    """What is taken over is an error in the log, with dimension, hour and quantity, and an event on the pod."""
    deleted(server)
    sidecar = inherited.start_entitled(variables=variables(server))
    line = sidecar.await_event("ledger.adopted")
    assert ("error", "requests 2026-11-23T10:00:00Z 2") == (line["level"], line["usage"])
    (event,) = [
        request.document for request in server.wait_for(EVENTS, 2) if request.document["reason"] == "LedgerAdopted"
    ]
    assert "Warning" == event["type"]
    assert line["usage"] in event["message"]
    assert OLD_UID in event["message"]


def test_restart_is_no_succession(inherited: "Site", server: ApiServer) -> None:
    """A container that restarts in the same pod asks for no other pod and takes nothing over."""
    deleted(server)
    inherited.start_entitled(variables=variables(server)).kill()
    again = inherited.start_entitled(variables=variables(server))
    assert [] == again.events("ledger.predecessor_asked")
    assert [] == again.events("ledger.adopted")


def test_replacement_of_the_same_name(inherited: "Site", server: ApiServer) -> None:
    """After a forced deletion the successor of a StatefulSet has the name and another UID: it takes over."""
    deleted(server)
    inherited.start_entitled(variables=variables(server)).kill()
    server.pod = deepcopy(server.pod)
    server.pod["metadata"]["uid"] = "6f1d7c1e-0000-4000-8000-00000000000c"
    successor = {**variables(server), "POD_UID": "6f1d7c1e-0000-4000-8000-00000000000c"}
    sidecar = inherited.start_entitled(variables=successor)
    assert "no" == sidecar.await_event("ledger.predecessor_asked")["runs"]
