"""Which states of the entitlement are faults, and since when."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from sidecar.domain.entitlement.states import Entitlement, EntitlementSource, Reason, State
from sidecar.marketplace.errors import CredentialsMissing
from sidecar.marketplace.sdk_settings import SettingRefused
from sidecar.services.entitlement_fault import entitlement_fault
from sidecar.services.failed_calls import MEANINGS

OPEN = {Reason.REGISTERED, Reason.METERED, Reason.LICENSED, Reason.NOT_CHECKED, Reason.REMEMBERED}
WAITING = {
    Reason.CUSTOMER_NOT_ENTITLED,
    Reason.LEDGER_UNAVAILABLE,
    Reason.LICENSE_EXPIRED,
    Reason.LICENSE_PENDING,
    Reason.LICENSE_SUSPENDED,
    Reason.NO_PROBE_SLOT,
    Reason.REGISTERING,
    Reason.SEATS_TAKEN,
    Reason.THROTTLED,
}
"""Nothing in the pod can be the cause."""
RESTARTING = {
    Reason.CREDENTIALS_MISSING,
    Reason.DISABLED_API,
    Reason.INVALID_PRODUCT_CODE,
    Reason.INVALID_PUBLIC_KEY_VERSION,
    Reason.INVALID_REGION,
    Reason.INVALID_USAGE_DIMENSION,
    Reason.PLATFORM_NOT_SUPPORTED,
    Reason.UNSUPPORTED_REGION,
}
"""Only what a process reads at its start can be the cause."""
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def entitlement(state: State, reason: Reason = Reason.CUSTOMER_NOT_ENTITLED) -> Entitlement:
    """Return an entitlement in a state."""
    return Entitlement(state, reason, "The account has none.", EntitlementSource.LIVE, "0abc", 1, NOON)


@pytest.mark.parametrize(
    ("state", "code"),
    [
        (State.PENDING, None),
        (State.ENTITLED, None),
        (State.DENIED, "entitlement-denied"),
        (State.SUSPENDED, "entitlement-suspended"),
        (State.UNAVAILABLE, "entitlement-unavailable"),
    ],
)
def test_closed_gate_is_a_fault(state: State, code: str | None) -> None:
    """A refusal, a later refusal and a lasting silence are faults with the reason, its cure and the state's instant."""
    found = entitlement_fault(entitlement(state))
    assert code == (None if found is None else found.code)
    if found is not None:
        assert (NOON, "customer-not-entitled: The account has none.") == (found.since, found.detail)
        assert found.cure.startswith("Subscribe to the product")


def test_failed_call_knows_the_cure() -> None:
    """The cure of the call that failed has priority over that of the reason."""
    found = entitlement_fault(replace(entitlement(State.UNAVAILABLE), cure="Open the proxy."))
    assert found is not None
    assert found.cure.startswith("Open the proxy. ")


@pytest.mark.parametrize("reason", [each for each in Reason if each not in OPEN])
def test_cure_names_a_restart_where_it_takes_one(reason: Reason) -> None:
    """A cure promises to do without a restart only where the running process sees that it was applied."""
    cures = {meaning.reason: kind.cure for kind, meaning in MEANINGS.items()}
    found = entitlement_fault(replace(entitlement(State.UNAVAILABLE, reason), cure=cures.get(reason, "")))
    assert found is not None
    assert (reason in WAITING) == found.cure.endswith("no restart is needed.")
    assert (reason not in RESTARTING) == ("asks again by itself" in found.cure)
    assert (reason not in WAITING) == ("estart the pod" in found.cure)
    assert (reason is Reason.SIGNATURE_INVALID) == ("reads the key's file again" in found.cure)


@pytest.mark.parametrize("kind", [CredentialsMissing, SettingRefused])
def test_missing_credentials_end_with_a_restart(kind: type[CredentialsMissing]) -> None:
    """Roles and variables reach a pod only when it starts."""
    found = entitlement_fault(replace(entitlement(State.UNAVAILABLE, Reason.CREDENTIALS_MISSING), cure=kind.cure))
    assert found is not None
    assert (kind.cure, True) == (found.cure, found.cure.endswith("Then restart the pod."))
