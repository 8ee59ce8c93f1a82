"""Whether there is a tie to the cluster, and what holds without one."""

import asyncio
import subprocess
import sys
import threading
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
import structlog

from sidecar.app.cluster import Cluster
from sidecar.domain.pod.lifecycle import PodEnd
from sidecar.domain.pod.succession import PodPlace, Predecessor
from sidecar.services.faults import FaultRegister
from sidecar.settings import KubernetesSettings, KubernetesUse
from tests.support.apiserver import POD, UID, ApiServer

IN_POD = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": "9", "POD_NAME": "app-0"}


@pytest.fixture
def account(tmp_path: Path) -> Path:
    """The folder of a service account."""
    (tmp_path / "token").write_text("secret", encoding="ascii")
    (tmp_path / "namespace").write_text("shop", encoding="ascii")
    return tmp_path


@pytest.mark.parametrize(
    ("use", "missing", "said"),
    [
        (KubernetesUse.AUTO, "KUBERNETES_SERVICE_HOST", []),
        (KubernetesUse.AUTO, "token", []),
        (KubernetesUse.AUTO, "POD_NAME", ["warning"]),
        (KubernetesUse.ALWAYS, "KUBERNETES_SERVICE_HOST", ["error"]),
        (KubernetesUse.ALWAYS, "token", ["error"]),
        (KubernetesUse.ALWAYS, "POD_NAME", ["error"]),
        (KubernetesUse.NEVER, "POD_NAME", []),
        (KubernetesUse.NEVER, "", []),
    ],
)
async def test_no_tie(account: Path, use: KubernetesUse, missing: str, said: list[str]) -> None:
    """Without a tie the end is the pod's own; what was forgotten or asked for in vain is reported, with its name."""
    faults = FaultRegister()
    (account / missing).unlink() if missing == "token" else None
    environ = {name: value for name, value in IN_POD.items() if name != missing}
    with structlog.testing.capture_logs() as lines:
        cluster = Cluster(KubernetesSettings(enabled=use), environ, faults, account)
    assert said == [line["log_level"] for line in lines]
    assert len(said) == len(faults.findings)
    assert all(missing in found.detail for found in faults.findings)
    assert PodEnd(ending=True) == await cluster.ask_end()
    cluster.close()


async def test_unreachable_cluster_ends(account: Path) -> None:
    """With a tie to an API that cannot be reached the end is taken to be the pod's own, and the status shows why."""
    faults = FaultRegister()
    cluster = Cluster(KubernetesSettings(), IN_POD, faults, account)
    assert [] == faults.findings
    assert await cluster.ask_end() is None
    assert ["kubernetes-unreachable"] == [found.code for found in faults.findings]
    cluster.close()


async def test_lack_of_threads_is_a_fault(account: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a free thread for the call, the end is the pod's own and the status shows why; nothing breaks."""
    faults = FaultRegister()
    cluster = Cluster(KubernetesSettings(), IN_POD, faults, account)

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert await cluster.ask_end() is None
    [finding] = faults.findings
    assert ("kubernetes-unreachable", True) == (finding.code, "can't start new thread" in finding.detail)
    cluster.close()


async def test_refusal_leaves_the_predecessor_unjudged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An API server that refuses for a moment is asked again whether the ledger's earlier pod runs."""
    monkeypatch.setattr("sidecar.app.cluster._ASK_AGAIN", timedelta(milliseconds=10))
    with closing(ApiServer(tmp_path / "account")) as server:
        cluster = Cluster(KubernetesSettings(), server.environ, FaultRegister(), server.account)
        server.faults[POD] = 503
        asking = asyncio.create_task(cluster.runs(Predecessor(UID, PodPlace("shop", "app-0"))))
        await asyncio.to_thread(server.wait_for, POD, 1)
        assert not asking.done()
        server.faults.clear()
        assert await asking is True
        cluster.close()


def test_finding_the_cluster_is_cheap(account: Path) -> None:
    """Neither the application nor a tie that was not used yet loads the package."""
    script = (
        "import sys; from pathlib import Path; from sidecar import settings; from sidecar.app import cluster;"
        "from sidecar.services.faults import FaultRegister;"
        f"cluster.Cluster(settings.KubernetesSettings(), {IN_POD!r}, FaultRegister(), Path({str(account)!r}));"
        "assert 'kubernetes' not in sys.modules; print('cheap')"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert "cheap" == done.stdout.strip()
