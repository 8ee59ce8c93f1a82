"""Which states of the entitlement are faults, and since when."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from sidecar.domain.entitlement.states import Entitlement, EntitlementSource, Reason, State
from sidecar.services.entitlement_fault import entitlement_fault

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


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_says_what_follows(reason: Reason) -> None:
    """Whatever the reason, there is a cure; that of the failed call, which knows more, has priority."""
    found = entitlement_fault(entitlement(State.UNAVAILABLE, reason))
    called = entitlement_fault(replace(entitlement(State.UNAVAILABLE, reason), cure="Open the proxy."))
    assert found is not None
    assert called is not None
    assert found.cure.endswith(".")
    assert called.cure.startswith("Open the proxy. ")
