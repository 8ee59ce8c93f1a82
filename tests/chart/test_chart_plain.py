"""A plain sidecar takes usage until the app has had its time: SIGTERM reaches both containers of a pod together."""

from pathlib import Path

import pytest

from tests.support.reading import read
from tests.support.rendering import (
    PRODUCT,
    Helm,
    Values,
    config,
    containers,
    merge,
    pod_template,
    sidecar,
)

_PLAIN = merge(PRODUCT, sidecar(mode="plain"))
_HOURLY = config(metering={"dimensions": []})
_TIME = {"name": "hours", "source": {"pod_time": {}}}
_COUNTER = {"name": "calls", "source": {"otlp": {"metric": "calls"}}}
_IMAGE = merge(sidecar(productFromImage=True), merge(config(product={"code": "", "public_keys": None}), _HOURLY))


def hook(helm: Helm, values: Values) -> list[str] | None:
    """Return the command that the kubelet runs before SIGTERM; None without one."""
    found = containers(pod_template(helm.render("marketplace-product", values)))["marketplace-sidecar"]
    if "lifecycle" not in found:
        return None
    return list(found["lifecycle"]["preStop"]["exec"]["command"])


@pytest.mark.parametrize(
    ("grace", "timeout", "expected"), [(60, "25s", 30), (31, "25s", 1), (30, "25s", None), (600, "1m", 535)]
)
def test_app_has_the_time_before_the_drain(helm: Helm, grace: int, timeout: str, expected: int | None) -> None:
    """The wait, the drain and 5 seconds to spare are the pod's grace period."""
    changes = merge(sidecar(terminationGracePeriodSeconds=grace), config(shutdown={"timeout": timeout}))
    command = hook(helm, merge(_PLAIN, changes))
    assert (command and command[-1]) == (expected and f"import time; time.sleep({expected})")


def test_program_of_the_wait_is_in_the_image(helm: Helm) -> None:
    """The wait runs the interpreter of the image, isolated as the image's own entry point is."""
    command = hook(helm, _PLAIN)
    assert command is not None
    assert f'ENTRYPOINT ["{command[0]}", "{command[1]}", ' in read("Dockerfile")


@pytest.mark.parametrize(
    ("changes", "waits"),
    [
        (_HOURLY, False),
        (config(metering={"dimensions": [_TIME]}), False),
        (config(metering={"dimensions": [_TIME, {"name": "requests"}]}), True),
        (config(metering={"dimensions": [_COUNTER]}), True),
        (_IMAGE, True),
        (sidecar(mode="native"), False),
    ],
    ids=["hourly", "time", "time and reports", "counter", "image", "native"],
)
def test_wait_is_for_usage_of_the_app(helm: Helm, changes: Values, *, waits: bool) -> None:
    """Where the app reports nothing, or ends before the sidecar anyway, the pod's end is not put off."""
    assert waits is (hook(helm, merge(_PLAIN, changes)) is not None)


def test_notes_show_the_time(helm: Helm, tmp_path: Path) -> None:
    """After an installation the time that the app has is shown."""
    assert "within 30 seconds of SIGTERM" in helm.render_notes("marketplace-product", _PLAIN, tmp_path / "plain")
    assert "SIGTERM" not in helm.render_notes("marketplace-product", PRODUCT, tmp_path / "native")
