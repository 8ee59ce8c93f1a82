"""GetEntitlements: what the customers of a SaaS contract are entitled to.

Only subscribed customers have entitlements, and each until its expiration date. What AWS answers after that date is
documented nowhere; an entitlement that is gone is the stricter test for a product.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sidecar.emulator.protocol.decisions import Rule
from sidecar.emulator.protocol.entitlement_requests import LARGEST_PAGE
from sidecar.emulator.protocol.errors import ServiceError
from sidecar.emulator.rules.pages import cut_page
from sidecar.emulator.state.entries import Customer, CustomerEntitlement
from sidecar.emulator.state.store import State

_INVALID = "InvalidParameterException"
"""The one error that the model has for a request's own faults."""


@dataclass(frozen=True, slots=True)
class GrantedEntitlement:
    """An entitlement and its customer."""

    customer: Customer
    entitlement: CustomerEntitlement


def get_entitlements(
    state: State, now: datetime, members: Mapping[str, Any]
) -> tuple[Sequence[GrantedEntitlement], str | None]:
    """Return one page, and the token of the next one.

    Raises:
        ServiceError: InvalidParameterException for an unknown product, two names of the customer, or a foreign token.
    """
    filters: Mapping[str, Sequence[str]] = members.get("Filter", {})
    if state.seed.product_code not in (None, members["ProductCode"]):
        raise ServiceError(_INVALID, "ProductCode: there is no such product.", rule=Rule.PRODUCT)
    if {"CUSTOMER_IDENTIFIER", "CUSTOMER_AWS_ACCOUNT_ID"} <= filters.keys():
        raise ServiceError(_INVALID, "Filter: give CUSTOMER_IDENTIFIER or CUSTOMER_AWS_ACCOUNT_ID, not both.")
    found = [
        each
        for each in _granted(state, now)
        if all(_property(each, name) in values for name, values in filters.items())
    ]
    return cut_page(found, members.get("NextToken"), members.get("MaxResults", LARGEST_PAGE), _INVALID)


def _granted(state: State, now: datetime) -> Iterator[GrantedEntitlement]:
    for customer in state.customers.values():
        for entitlement in customer.entitlements if customer.entitled else ():
            if entitlement.expires_at is None or now < entitlement.expires_at:
                yield GrantedEntitlement(customer, entitlement)


def _property(granted: GrantedEntitlement, name: str) -> str | None:
    match name:
        case "CUSTOMER_IDENTIFIER":
            return granted.customer.customer_identifier
        case "CUSTOMER_AWS_ACCOUNT_ID":
            return granted.customer.aws_account_id
        case "LICENSE_ARN":
            return granted.customer.license_arn
        case _:
            return granted.entitlement.dimension
