"""The rules of licenses against a model of their own, whatever the order of calls."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from sidecar.emulator.protocol.errors import ServiceError
from sidecar.emulator.protocol.license_requests import PERPETUAL, PROVISIONAL, CheckoutLicenseRequest, EntitlementAsked
from sidecar.emulator.rules.checkouts import check_in_license, checkout_license, extend_license_consumption
from sidecar.emulator.rules.licenses import amount_held
from sidecar.emulator.state.license_changes import change_license
from sidecar.emulator.state.store import State
from tests.emulator.licenses import FINGERPRINT, USERS

HOUR = timedelta(hours=1)
SEATS = 3
TOKENS = st.sampled_from([f"t-{number}" for number in range(6)])


class Seats(RuleBasedStateMachine):
    """Pods that take, extend, return and forget seats of one license."""

    def __init__(self) -> None:
        super().__init__()
        self.state = State()
        self.now = datetime(2026, 11, 23, 10, tzinfo=UTC)
        members = {"sku": "prod-1", "entitlements": [{**USERS, "MaxCount": SEATS}]}
        self.arn = change_license(self.state, self.now, "grant", members).arn
        self.held: dict[str, tuple[int, datetime | None]] = {}
        self.asked: dict[str, CheckoutLicenseRequest] = {}
        self.known: dict[str, str] = {}

    def taken(self) -> int:
        """Return how many seats are held by the model's own account."""
        return sum(count for count, until in self.held.values() if until is None or self.now < until)

    @rule(token=TOKENS, count=st.integers(1, 4), draws=st.booleans())
    def check_out(self, token: str, count: int, *, draws: bool) -> None:
        """Take seats; a token that was used takes nothing more and is bound to its request."""
        request = CheckoutLicenseRequest(
            "prod-1",
            PERPETUAL if draws else PROVISIONAL,
            FINGERPRINT,
            (EntitlementAsked("users", "Count", str(count)),),
            token,
        )
        before = self.taken()
        expected = "InvalidParameterValueException" if token in self.asked else "NoEntitlementsAllowedException"
        try:
            checkout = checkout_license(self.state, self.now, "pod", request)
        except ServiceError as error:
            refusal: str | None = error.code
        else:
            refusal = None
            self.note(request, count, before, checkout.consumption_token)
        if refusal is not None:
            assert expected == refusal
            assert token in self.asked or before + count > SEATS
            assert request != self.asked.get(token)

    def note(self, request: CheckoutLicenseRequest, count: int, before: int, consumption_token: str) -> None:
        """Compare a checkout that was allowed with the model, and take it in."""
        token = request.client_token
        if token in self.asked:
            assert request == self.asked[token]
            assert self.known[token] == consumption_token
        else:
            assert before + count <= SEATS
            self.held[token] = (count, None if request.checkout_type == PERPETUAL else self.now + HOUR)
            self.asked[token] = request
            self.known[token] = consumption_token

    @precondition(lambda self: self.known)
    @rule(data=st.data(), new_token=st.booleans())
    def extend(self, data: st.DataObject, *, new_token: bool) -> None:
        """Extend a checkout that is still held, for an hour from now."""
        token = data.draw(st.sampled_from(sorted(self.known)))
        count, until = self.held.get(token, (0, self.now))
        try:
            extended = extend_license_consumption(self.state, self.now, self.known[token], new_token=new_token)
        except ServiceError:
            assert until is None or self.now >= until
            return
        assert until is not None
        assert self.now < until
        assert new_token == (self.known[token] != extended.consumption_token)
        self.held[token] = (count, self.now + HOUR)
        self.known[token] = extended.consumption_token

    @precondition(lambda self: self.known)
    @rule(data=st.data())
    def check_in(self, data: st.DataObject) -> None:
        """Return a checkout that is still held."""
        token = data.draw(st.sampled_from(sorted(self.known)))
        _, until = self.held.get(token, (0, self.now))
        try:
            check_in_license(self.state, self.now, self.known[token])
        except ServiceError:
            assert until is None or self.now >= until
            return
        assert until is not None
        del self.held[token]

    @rule(minutes=st.integers(1, 90))
    def wait(self, minutes: int) -> None:
        """Let time pass."""
        self.now += timedelta(minutes=minutes)

    @invariant()
    def adds_up(self) -> None:
        """What is held is what was taken and neither returned nor lapsed, and never more than the license has."""
        held = amount_held(self.state.checkouts.values(), self.arn, "users", self.now)
        assert self.taken() == held
        assert held <= SEATS

    @invariant()
    def survives(self) -> None:
        """A state made of the entries of this one holds the same, with one current token for each checkout."""
        copy = State()
        for entry in self.state.entries():
            copy.apply(entry)
        assert self.state.checkouts_by_token == copy.checkouts_by_token
        assert set(self.known.values()) == set(copy.checkouts_by_token)


TestSeats = Seats.TestCase


def test_two_of_one_instant() -> None:
    """Of two licenses that were created in one instant the one that came last is the newest."""
    state = State()
    now = datetime(2026, 11, 23, 10, tzinfo=UTC)
    members = {"sku": "prod-1", "entitlements": [USERS]}
    arns = [change_license(state, now, "grant", members).arn for _ in range(3)]
    request = CheckoutLicenseRequest(
        "prod-1", PROVISIONAL, FINGERPRINT, (EntitlementAsked("users", "Count", "1"),), "t-1"
    )
    taken = Counter(
        checkout_license(state, now, "pod", replace(request, client_token=f"t-{number}")).license_arn
        for number in range(2)
    )
    assert {arns[-1]: 2} == taken
