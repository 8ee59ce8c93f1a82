"""All that the emulated service knows, in memory.

Refuses to decide: the rules read it and hand entries to `keep`. Invariant: the state is the seed plus its entries in
order, so applying `entries()` to a new state gives the same state.
"""

from collections import deque
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from sidecar.emulator.state.entries import (
    ClockSetting,
    Customer,
    Entry,
    FirstCall,
    MeteringRecord,
    Registration,
    RegistrationToken,
    Reset,
    Session,
    SigningKey,
    Subscription,
    TrailEvent,
    UsedToken,
)
from sidecar.emulator.state.license_entries import Checkout, License
from sidecar.emulator.state.seed import NO_SEED, Seed

if TYPE_CHECKING:
    from sidecar.emulator.protocol.requests import MeterUsageRequest

Slot = tuple[str, str, str, datetime]
"""What can be metered once: product or license, pod or customer, dimension, hour."""

_TRAIL_LENGTH = 20_000


class State:
    """The service's memory.

    Attributes:
        slots: Records of MeterUsage, by product, pod, dimension and hour.
        customer_slots: Records of BatchMeterUsage, by product or license, customer, dimension and hour.
        records: All of them, in the order in which they were accepted.
        used_tokens: What each pod's client tokens stood for.
        first_calls: When each pod first called; empty unless the emulator refuses the hours before.
        keys: The product's key pairs by version; the highest is the current one.
        licenses: What the account has received, by ARN, in the order of arrival.
        checkouts: What is or was checked out, by client token.
        checkouts_by_token: The same by consumption token, without tokens that were replaced.
    """

    def __init__(self, seed: Seed = NO_SEED, listener: Callable[[Entry], None] | None = None) -> None:
        """Start from the seed; `listener` gets every entry that is kept."""
        self.seed = seed
        self._listener = listener
        self.sessions: dict[str, Session] = {}
        self.keys: dict[int, SigningKey] = {}
        self._forget()

    def _forget(self) -> None:
        self.slots: dict[Slot, MeteringRecord] = {}
        self.customer_slots: dict[Slot, MeteringRecord] = {}
        self.records: list[MeteringRecord] = []
        self.used_tokens: dict[tuple[str, str], MeterUsageRequest] = {}
        self.first_calls: dict[str, datetime] = {}
        self.registrations: dict[tuple[str, str], Registration] = {}
        self.customers = {customer.license_arn: customer for customer in self.seed.customers}
        self.registration_tokens: dict[str, RegistrationToken] = {}
        self.licenses = {license_.arn: license_ for license_ in self.seed.licenses}
        self.checkouts: dict[str, Checkout] = {}
        self.checkouts_by_token: dict[str, Checkout] = {}
        self.entitled = self.seed.entitled
        self.clock_setting: ClockSetting | None = None
        self.trail: deque[TrailEvent] = deque(maxlen=_TRAIL_LENGTH)
        # The seed's key pairs outlive a reset: a client's public key stays the right one.
        versions = range(1, self.seed.public_key_version + 1)
        self.keys = {
            version: SigningKey(version, self.keys[version].private_pem if version in self.keys else None)
            for version in versions
        }

    @property
    def current_key_version(self) -> int:
        """The newest key version."""
        return max(self.keys)

    def keep(self, entry: Entry) -> None:
        """Apply an entry and notify the listener."""
        self.apply(entry)
        if self._listener is not None:
            self._listener(entry)

    def apply(self, entry: Entry) -> None:
        """Take an entry in."""
        match entry:
            case MeteringRecord():
                slots = self.slots if entry.customer is None else self.customer_slots
                slots[slot_of(entry)] = entry
                self.records.append(entry)
            case UsedToken():
                self.used_tokens[entry.identity, entry.request.client_token or ""] = entry.request
            case Registration():
                self.registrations[entry.product_code, entry.identity] = entry
            case FirstCall():
                self.first_calls[entry.identity] = entry.at
            case Customer():
                self.customers[entry.license_arn] = entry
            case RegistrationToken():
                self.registration_tokens[entry.token] = entry
            case Subscription():
                self.entitled = entry.entitled
            case License():
                self.licenses[entry.arn] = entry
            case Checkout():
                self._apply_checkout(entry)
            case _:
                self._apply_surroundings(entry)

    def _apply_checkout(self, checkout: Checkout) -> None:
        earlier = self.checkouts.get(checkout.request.client_token)
        if earlier is not None:
            self.checkouts_by_token.pop(earlier.consumption_token, None)
        self.checkouts[checkout.request.client_token] = checkout
        self.checkouts_by_token[checkout.consumption_token] = checkout

    def _apply_surroundings(self, entry: Session | SigningKey | ClockSetting | TrailEvent | Reset) -> None:
        match entry:
            case Session():
                self.sessions[entry.access_key_id] = entry
            case SigningKey():
                self.keys[entry.version] = entry
            case ClockSetting():
                self.clock_setting = entry
            case TrailEvent():
                self.trail.append(entry)
            case Reset():
                self._forget()

    def entries(self) -> Iterator[Entry]:
        """Yield what turns a new state of the same seed into this one."""
        yield from self.keys.values()
        yield from self.sessions.values()
        yield from self.customers.values()
        yield Subscription(self.entitled)
        yield from self.records
        yield from (UsedToken(identity, request) for (identity, _), request in self.used_tokens.items())
        yield from (FirstCall(identity, at) for identity, at in self.first_calls.items())
        yield from self.registrations.values()
        yield from self.registration_tokens.values()
        yield from self.licenses.values()
        yield from self.checkouts.values()
        yield from self.trail
        if self.clock_setting is not None:
            yield self.clock_setting


def slot_of(record: MeteringRecord) -> Slot:
    """Return the slot that a record fills."""
    if record.customer is None:
        return (record.product_code, record.identity, record.dimension, record.hour)
    # The two ways to name a customer are two slots: a client that uses both for one hour bills twice, as at AWS.
    scope = f"license {record.customer}" if record.by_license else f"product {record.product_code}"
    return (scope, record.customer, record.dimension, record.hour)
