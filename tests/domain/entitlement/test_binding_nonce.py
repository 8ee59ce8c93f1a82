"""The nonce of a pod's own registration names the pod, and no other nonce passes for it."""

import pytest

from sidecar.domain.entitlement.binding import PREFIX, bind, is_bound, is_reserved

RANDOM = "q" * 43


def test_nonce_names_its_pod() -> None:
    """A nonce is bound to the pod that it was made for, however long the pod's identity is, and fits AWS's limit."""
    for pod in ("0b2c", "arn:aws:ecs:eu-west-1:111122223333:task/shop/" + "f" * 300, "p\udcff"):
        nonce = bind(pod, RANDOM)
        assert is_bound(nonce, pod)
        assert len(bind(pod, "q" * 100)) <= 255


@pytest.mark.parametrize(
    "nonce",
    [
        "",
        RANDOM,
        PREFIX,
        bind("pod-2", RANDOM),
        bind("pod-1", RANDOM) + "x",
        bind("pod-1", "short"),
        bind("pod-1", RANDOM).removeprefix(PREFIX),
        bind("pod-1", RANDOM).upper(),
        PREFIX + bind("pod-1", RANDOM).rpartition(".")[2],
    ],
)
def test_other_nonce_is_not_bound(nonce: str) -> None:
    """A nonce of another pod, without enough random characters or of another form binds nothing."""
    assert not is_bound(nonce, "pod-1")


def test_app_cannot_make_one() -> None:
    """Every nonce that could be bound to a pod is reserved, so no attestation becomes the proof of a pod."""
    assert is_reserved(bind("pod-1", RANDOM))
    assert not is_reserved("of-the-app")
