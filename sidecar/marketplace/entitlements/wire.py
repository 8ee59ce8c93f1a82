"""Between our types and the members of GetEntitlements.

Pure translation: it judges no entitlement. Whatever an answer lacks or garbles becomes `UnknownAnswer`, because an
answer that cannot be read must never look like a customer without entitlements.
"""

from datetime import UTC, datetime
from typing import Any, TypeVar

from sidecar.marketplace.entitlements.types import (
    Entitlement,
    EntitlementValue,
    GetEntitlementsRequest,
    GetEntitlementsResult,
)
from sidecar.marketplace.errors import UnknownAnswer
from sidecar.marketplace.wire import Members, members, request_id

T = TypeVar("T")


def request_members(request: GetEntitlementsRequest) -> dict[str, Any]:
    """Return the request of the first page as the SDK takes it."""
    made = members(request)
    if request.filter is not None:
        made["Filter"] = {str(name): list(values) for name, values in request.filter.items()}
    return made


def entitlements_page(answer: Members) -> GetEntitlementsResult:
    """Read one page of GetEntitlements.

    Raises:
        UnknownAnswer: It is garbled, has no list, or no request id: then something else has answered.
    """
    if request_id(answer) is None:
        raise UnknownAnswer("the answer has no request id, so it is not AWS's")
    listed = answer.get("Entitlements")
    if not isinstance(listed, list):
        raise UnknownAnswer("the answer has no Entitlements", request_id=request_id(answer))
    return GetEntitlementsResult(
        entitlements=tuple(_entitlement(each, f"Entitlements[{index}]") for index, each in enumerate(listed)),
        request_id=request_id(answer),
    )


def _entitlement(given: Any, path: str) -> Entitlement:
    if not isinstance(given, dict):
        raise UnknownAnswer(f"{path} in the answer is no structure")
    return Entitlement(
        product_code=_member(given, path, "ProductCode", str),
        dimension=_member(given, path, "Dimension", str),
        customer_identifier=_member(given, path, "CustomerIdentifier", str),
        customer_aws_account_id=_member(given, path, "CustomerAWSAccountId", str),
        value=_value(given, f"{path}.Value"),
        expiration_date=_instant(given, path),
        license_arn=_member(given, path, "LicenseArn", str),
    )


def _value(given: Members, path: str) -> EntitlementValue | None:
    value = given.get("Value")
    if value is None:
        return None
    if not isinstance(value, dict):
        raise UnknownAnswer(f"{path} in the answer is no structure")
    double = value.get("DoubleValue")
    if isinstance(double, int) and not isinstance(double, bool):
        value = {**value, "DoubleValue": float(double)}  # JSON has one kind of number
    return EntitlementValue(
        integer_value=_member(value, path, "IntegerValue", int),
        double_value=_member(value, path, "DoubleValue", float),
        boolean_value=_member(value, path, "BooleanValue", bool),
        string_value=_member(value, path, "StringValue", str),
    )


def _instant(given: Members, path: str) -> datetime | None:
    value = _member(given, path, "ExpirationDate", datetime)  # the SDK has parsed it, or failed
    return None if value is None else value.astimezone(UTC)


def _member(given: Members, path: str, name: str, kind: type[T]) -> T | None:
    value = given.get(name)
    if value is None or type(value) is kind:
        return value
    raise UnknownAnswer(f"{path}.{name} in the answer is no {kind.__name__}")
