"""MeterUsage: one record per product, pod, dimension and UTC hour, permanently.

Refuses usage older than six hours, usage of the future, and, where first calls are known, of hours before the pod's.
A dry run says nothing about the subscription: it is never judged. Invariant: a slot that is filled never changes; its
exact repeat gets the same metering record id, everything else for it is a duplicate. Reporting an hour before it has
ended therefore burns it.
"""

from datetime import datetime, timedelta

from sidecar.emulator.protocol.decisions import Rule
from sidecar.emulator.protocol.errors import ServiceError
from sidecar.emulator.protocol.instants import hour_of
from sidecar.emulator.protocol.requests import MeterUsageRequest
from sidecar.emulator.rules.usage_rules import (
    check_allocations,
    check_dimension,
    check_price,
    check_product,
    is_same_usage,
    record_id,
    split,
)
from sidecar.emulator.state.entries import MeteringRecord, UsedToken
from sidecar.emulator.state.store import Slot, State

WINDOW = timedelta(hours=6)
"""How old usage may be; usage of exactly this age is still taken."""


def meter_usage(state: State, now: datetime, identity: str, request: MeterUsageRequest) -> MeteringRecord:
    """Accept usage of the pod `identity`, or its exact repeat.

    Raises:
        ServiceError: The refusal. DryRunOperation, which is no fault, for a dry run: that looks at permission only,
            which whoever got here has.
    """
    if request.dry_run:
        raise ServiceError("DryRunOperation", "Request would have succeeded, but DryRun flag is set.")
    _check_client_token(state, identity, request)
    check_product(state.seed, request.product_code)
    check_price(state.seed, "MeterUsage")
    check_dimension(state.seed, request.dimension)
    if not state.entitled:
        raise ServiceError("CustomerNotEntitledException", "The customer has no subscription for the product.")
    check_window(now, request.timestamp)
    _check_first_call(state, identity, request)
    check_allocations(request.quantity, request.allocations)
    record = _fill_slot(state, now, identity, request)
    if request.client_token is not None and (identity, request.client_token) not in state.used_tokens:
        state.keep(UsedToken(identity, request))
    return record


def check_window(now: datetime, timestamp: datetime) -> None:
    """Refuse a timestamp, as it was sent, that lies in the future or more than `WINDOW` back.

    Raises:
        ServiceError: TimestampOutOfBoundsException.
    """
    if timestamp > now:
        raise ServiceError("TimestampOutOfBoundsException", "The timestamp lies in the future.")
    if now - timestamp > WINDOW:
        raise ServiceError("TimestampOutOfBoundsException", "The timestamp is more than six hours old.")


def _check_first_call(state: State, identity: str, request: MeterUsageRequest) -> None:
    first = state.first_calls.get(identity)
    if first is not None and hour_of(request.timestamp) < hour_of(first):
        raise ServiceError(
            "TimestampOutOfBoundsException",
            "The timestamp is before the start of the software.",
            rule=Rule.FIRST_CALL,
        )


def _check_client_token(state: State, identity: str, request: MeterUsageRequest) -> None:
    if request.client_token is None:
        return
    earlier = state.used_tokens.get((identity, request.client_token))
    if earlier is not None and _parameters(earlier) != _parameters(request):
        raise ServiceError("IdempotencyConflictException", "The ClientToken was used with other parameters.")


def _parameters(request: MeterUsageRequest) -> tuple[object, ...]:
    # The timestamp counts as it was sent, the quantity by its value: the service model has the same rule for retries.
    return (
        request.product_code,
        request.timestamp,
        request.dimension,
        request.quantity.millionths,
        split(request.allocations),
    )


def _fill_slot(state: State, now: datetime, identity: str, request: MeterUsageRequest) -> MeteringRecord:
    slot: Slot = (request.product_code, identity, request.dimension, hour_of(request.timestamp))
    filled = state.slots.get(slot)
    if filled is not None:
        if not is_same_usage(filled, request.quantity, request.allocations):
            raise ServiceError(
                "DuplicateRequestException",
                "A metering record of this pod for this dimension and hour exists with another quantity.",
            )
        return filled
    record = MeteringRecord(
        metering_record_id=record_id(slot),
        product_code=request.product_code,
        dimension=request.dimension,
        hour=slot[3],
        quantity=request.quantity,
        allocations=request.allocations or (),
        identity=identity,
        received_at=now,
        client_token=request.client_token,
    )
    state.keep(record)
    return record
