"""The request and the answer of GetEntitlements, in the words of the service model (version 2017-01-11).

A member keeps its name in snake case. Nothing here validates, sends or imports an SDK. Instants are aware datetimes in
UTC.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class GetEntitlementFilterName(StrEnum):
    """What entitlements can be filtered by."""

    CUSTOMER_IDENTIFIER = "CUSTOMER_IDENTIFIER"
    DIMENSION = "DIMENSION"
    CUSTOMER_AWS_ACCOUNT_ID = "CUSTOMER_AWS_ACCOUNT_ID"
    LICENSE_ARN = "LICENSE_ARN"


@dataclass(frozen=True, slots=True, kw_only=True)
class GetEntitlementsRequest:
    """Asks for the entitlements of a product's customers, all pages of them.

    A filter keeps the entitlements with one of its values; with several filters all must fit.
    """

    product_code: str
    filter: Mapping[GetEntitlementFilterName, tuple[str, ...]] | None = None
    max_results: int | None = None
    """How many one page holds, at most 25; AWS decides if it is None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EntitlementValue:
    """How much the customer may use, in one of four kinds."""

    integer_value: int | None = None
    double_value: float | None = None
    boolean_value: bool | None = None
    string_value: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entitlement:
    """What one customer has bought of one dimension.

    `expiration_date` is when the contract is renewed or ends: compare it with your clock.
    """

    product_code: str | None = None
    dimension: str | None = None
    customer_identifier: str | None = None
    customer_aws_account_id: str | None = None
    value: EntitlementValue | None = None
    expiration_date: datetime | None = None
    license_arn: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GetEntitlementsResult:
    """The entitlements of all pages, in AWS's order; none: the customers that fit have bought nothing."""

    entitlements: tuple[Entitlement, ...] = ()
    request_id: str | None = None
    """That of the last page."""
