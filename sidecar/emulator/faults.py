"""Faults on order: what shall go wrong with the next calls of an operation.

Refuses names that it does not know and faults that cannot happen to an operation. Invariant: the faults of one
operation happen in the order in which they were asked for; those for any operation (`*`) come after its own.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from sidecar.emulator.protocol.errors import (
    ENTITLEMENT_MODELLED,
    LICENSE_MODELLED,
    MODELLED,
    STS_MODELLED,
    UNMODELLED,
)

ANY = "*"
STS_OPERATION = "AssumeRoleWithWebIdentity"
OPERATIONS = (*MODELLED, *LICENSE_MODELLED, *ENTITLEMENT_MODELLED, STS_OPERATION)

_EVERYWHERE = frozenset(OPERATIONS)
_SIGNED = frozenset({"RegisterUsage"})
_METERED = frozenset({"MeterUsage", "BatchMeterUsage"})
_EXTENDED = frozenset({"ExtendLicenseConsumption"})
_HELD = frozenset({"CheckoutLicense", *_EXTENDED})

BEHAVIORS = {
    "throttle": _EVERYWHERE,  # ThrottlingException; RateLimitExceededException of License Manager
    "internal": _EVERYWHERE,  # InternalServiceErrorException or ServerInternalException, HTTP 500; not processed
    "internal-taken": _EVERYWHERE,  # processed, then answered as by `internal`
    "timeout": _EVERYWHERE,  # no answer until the client leaves; not processed
    "drop-response": _EVERYWHERE,  # processed, then the connection is closed without an answer
    "disconnect": _EVERYWHERE,  # the connection is closed; not processed
    "garbage": _EVERYWHERE,  # HTTP 200 with a body that is no answer; not processed
    "access-denied": _EVERYWHERE,  # AccessDeniedException; UnauthorizedException for a dry run
    "expired-token": _EVERYWHERE,  # ExpiredTokenException: the credentials, or the web identity token, are too old
    "unprocessed": frozenset({"BatchMeterUsage"}),  # every record comes back as unprocessed
    "no-record-id": _METERED,  # processed, but the answer lacks the metering record ids
    "no-token": _HELD,  # processed, but the answer lacks the consumption token
    "partial": frozenset({"CheckoutLicense"}),  # processed, but the answer allows one less than was asked for
    "new-token": _EXTENDED,  # processed, and the consumption token is another one from now on
    "drop-new-token": _EXTENDED,  # as `new-token`, but the connection is closed without an answer
    "dry-run-success": frozenset({"MeterUsage"}),  # a dry run is answered by a plain success
    "wrong-signature": _SIGNED,  # signed by another key
    "wrong-nonce": _SIGNED,
    "wrong-product": _SIGNED,
    "wrong-version": _SIGNED,
    "old-iat": _SIGNED,  # issued an hour ago
    "future-iat": _SIGNED,  # issued an hour from now
    "alg-none": _SIGNED,  # not signed at all
    "hs256": _SIGNED,  # an HMAC with the public key as its secret
}
"""The faults that are no plain error, with the operations that they can happen to."""

ERROR_NAMES = frozenset(
    {
        name
        for modelled in (MODELLED, LICENSE_MODELLED, ENTITLEMENT_MODELLED)
        for names in modelled.values()
        for name in names
    }
    | {*STS_MODELLED, *UNMODELLED}
)
"""The errors that can be asked for by name, with or without `Exception` at the end."""

MOST = 1_000_000
"""The largest count of a fault."""


@dataclass(slots=True)
class _Order:
    operation: str
    fault: str
    count: int


class Faults:
    """The faults still to happen."""

    def __init__(self) -> None:
        self._orders: deque[_Order] = deque()

    def add(self, operation: str, fault: str, count: int = 1) -> None:
        """Ask for a fault on the next `count` calls of the operation; 0 withdraws this fault.

        Raises:
            ValueError: The operation or fault is unknown, does not fit, or the count is out of range.
        """
        if operation not in (ANY, *OPERATIONS):
            raise ValueError(f"operation: {operation!r:.100}: must be one of {', '.join((ANY, *OPERATIONS))}")
        name = _known_name(fault)
        if operation != ANY and operation not in BEHAVIORS.get(name, _EVERYWHERE):
            raise ValueError(f"fault: {fault!r}: can happen only to {', '.join(sorted(BEHAVIORS[name]))}")
        if not 0 <= count <= MOST:
            raise ValueError(f"count: {count}: must be from 0 to {MOST}")
        if count == 0:
            self._orders = deque(order for order in self._orders if (order.operation, order.fault) != (operation, name))
        else:
            self._orders.append(_Order(operation, name, count))

    def clear(self, operation: str = ANY) -> None:
        """Withdraw all faults of the operation, or all of all operations."""
        self._orders = deque(order for order in self._orders if operation not in (ANY, order.operation))

    def take(self, operation: str) -> str | None:
        """Return the fault of this call and count it as happened."""
        for wanted in (operation, ANY):
            for order in self._orders:
                if order.operation == wanted and operation in BEHAVIORS.get(order.fault, _EVERYWHERE):
                    order.count -= 1
                    if order.count == 0:
                        self._orders.remove(order)
                    return order.fault
        return None

    def pending(self) -> Iterator[dict[str, object]]:
        """List what is still to happen."""
        for order in self._orders:
            yield {"operation": order.operation, "fault": order.fault, "count": order.count}


def _known_name(fault: str) -> str:
    for name in (fault, f"{fault}Exception"):
        if name in BEHAVIORS or name in ERROR_NAMES:
            return name
    raise ValueError(f"fault: {fault!r:.100}: must be one of {', '.join(known_faults())}")


def known_faults() -> list[str]:
    """Return the name of every fault."""
    return [*BEHAVIORS, *sorted(ERROR_NAMES)]
