"""Without the entitlement the product does not run, shows why, and starts by itself once the buyer may use it."""

from functools import partial
from typing import Any

from tests.cluster.asking import ask, await_for
from tests.cluster.product import APP, PROBES, SELECTOR, SIDECAR_CONTAINER, Product
from tests.cluster.stage import Stage, is_ready, is_running, status_of

ASK_AGAIN = "6m"
"""Longer than the sidecar waits after a refusal."""


def test_denied_app_never_starts(product: Product, stage: Stage) -> None:
    """While AWS refuses the registration, the app's container is not even made, and /readyz and Events show why."""
    product.emulator.unsubscribe()
    product.install()
    (pod,) = stage.await_pods(SELECTOR, "running the sidecar", lambda pod: is_running(pod, SIDECAR_CONTAINER))
    refusal = await_for("the refusal", lambda: _refusal(stage.read(pod), "denied"))
    assert "subscri" in refusal["reason"].lower()
    # The probe has been asked again and again since, and has not let the app through.
    await_for("more failed probes", lambda: _failed_probes(stage, pod) >= 5)
    app = status_of(stage.read(pod), APP)
    assert ("PodInitializing", None, 0) == (app.state.waiting.reason, app.container_id, app.restart_count)
    assert not is_ready(stage.read(pod))
    told = await_for("the Event", lambda: [event for event in stage.events(pod) if "subscri" in event.message.lower()])
    assert {"Warning"} == {event.type for event in told}


def test_subscribing_starts_app(product: Product, stage: Stage) -> None:
    """A buyer who subscribes after the refusal gets the app without anybody touching the pod."""
    product.emulator.unsubscribe()
    product.install()
    (pod,) = stage.await_pods(SELECTOR, "running the sidecar", lambda pod: is_running(pod, SIDECAR_CONTAINER))
    await_for("the refusal", lambda: _refusal(stage.read(pod), "denied"))
    product.emulator.entitle()
    product.emulator.advance(ASK_AGAIN)
    (started,) = product.await_ready()
    assert pod.metadata.uid == started.metadata.uid
    assert 0 == status_of(started, SIDECAR_CONTAINER).restart_count
    assert [pod.metadata.uid] == product.emulator.registered()


def test_throttled_minute_delays_start(product: Product, stage: Stage) -> None:
    """A minute in which AWS throttles every registration costs that minute and nothing else."""
    product.emulator.order("RegisterUsage", "throttle")
    product.install()
    (pod,) = stage.await_pods(SELECTOR, "running the sidecar", lambda pod: is_running(pod, SIDECAR_CONTAINER))
    for calls in range(1, 5):
        # Every retry waits at most a minute; what is stepped over the last one ends the waiting for the next.
        await_for("a throttled call", partial(_has_called, product, calls))
        product.emulator.advance("20s")
    assert _refusal(stage.read(pod), "pending") is not None
    assert not is_running(stage.read(pod), APP)
    product.emulator.order("RegisterUsage", "throttle", 0)
    product.emulator.advance("1m")
    (started,) = product.await_ready()
    assert pod.metadata.uid == started.metadata.uid
    assert 0 == status_of(started, SIDECAR_CONTAINER).restart_count


def test_plain_pod_gets_no_endpoint(product: Product, stage: Stage) -> None:
    """As a plain container the sidecar cannot hold the app back, but no traffic is sent to the pod before time."""
    product.emulator.unsubscribe()
    product.install({"sidecar": {"mode": "plain"}})
    (pod,) = stage.await_pods(SELECTOR, "running the app", lambda pod: is_running(pod, APP))
    await_for("the refusal", lambda: _refusal(stage.read(pod), "denied"))
    await_for("the pod among those not ready", lambda: ([], [pod.metadata.name]) == _endpoints(stage))
    assert not is_ready(stage.read(pod))
    product.emulator.entitle()
    product.emulator.advance(ASK_AGAIN)
    product.await_ready()
    await_for("the endpoint", lambda: ([pod.metadata.name], []) == _endpoints(stage))


def _has_called(product: Product, calls: int) -> bool:
    return len(product.emulator.calls("RegisterUsage")) >= calls


def _refusal(pod: Any, code: str) -> Any:
    """Return what /readyz says while it is 503 for this reason."""
    reply = ask(f"http://{pod.status.pod_ip}:{PROBES}/readyz")
    return reply.document if reply.status == 503 and reply.document["code"] == code else None


def _failed_probes(stage: Stage, pod: Any) -> int:
    return sum(event.count or 1 for event in stage.events(pod) if event.reason == "Unhealthy")


def _endpoints(stage: Stage) -> tuple[list[str], list[str]]:
    """Return the names of the pods that the product's Service sends to, and of those that it does not."""
    slices = stage.slices()
    ready: tuple[list[str], list[str]] = ([], [])
    for endpoint in [endpoint for one in slices for endpoint in one.endpoints or []]:
        ready[0 if endpoint.conditions.ready else 1].append(endpoint.target_ref.name)
    return ready


def test_custom_price_without_subscription_never_starts(product: Product, stage: Stage) -> None:
    """With a custom price the probe is a real record: without a subscription the app never starts, in any new pod."""
    product.emulator.unsubscribe()
    product.install({"sidecar": {"config": {"product": {"pricing": "custom"}}}})
    for _ in range(2):
        (pod,) = stage.await_pods(SELECTOR, "running the sidecar", lambda pod: is_running(pod, SIDECAR_CONTAINER))
        await_for("the refusal", partial(_is_denied, stage, pod))
        product.emulator.advance(ASK_AGAIN)
        await_for("more failed probes", partial(_has_failed, stage, pod))
        assert not is_running(stage.read(pod), APP)
        stage.delete(pod)
        stage.await_gone(pod)
    assert [] == product.emulator.records()


def test_custom_price_starts_by_probe(product: Product, stage: Stage) -> None:
    """With a custom price and a subscription one zero record of the pod opens the gate."""
    product.install({"sidecar": {"config": {"product": {"pricing": "custom"}}}})
    (pod,) = product.await_ready()
    assert ("metered", "0") == (
        product.ask(pod, "/v1/entitlement")["reason"],
        product.emulator.records()[0]["UsageQuantity"],
    )


def _is_denied(stage: Stage, pod: Any) -> bool:
    return _refusal(stage.read(pod), "denied") is not None


def _has_failed(stage: Stage, pod: Any) -> bool:
    return _failed_probes(stage, pod) >= 5
