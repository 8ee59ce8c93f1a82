"""CheckoutLicense, CheckInLicense and ExtendLicenseConsumption.

Refuses a part: a checkout takes all that it asks for, or nothing. Invariant: of a counted entitlement no more is taken
than its license has, unless the license allows overage or was amended since; one client token stands for one checkout,
permanently. The documents of AWS do not say how long a client token is remembered; here it always is.
"""

import hashlib
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation

from sidecar.emulator.protocol.decisions import Rule
from sidecar.emulator.protocol.errors import ServiceError
from sidecar.emulator.protocol.license_requests import PERPETUAL, CheckoutLicenseRequest, EntitlementAsked
from sidecar.emulator.rules.licenses import NO_COUNT, amount_held, gives_right, is_held, newest_license
from sidecar.emulator.state.license_entries import Checkout, EntitlementTerms, License
from sidecar.emulator.state.store import State

TIME_TO_LIVE = timedelta(minutes=60)
"""How long a provisional checkout lasts from its begin or its last extension."""
_MOST_DIGITS = 18


def checkout_license(
    state: State, now: datetime, identity: str, request: CheckoutLicenseRequest, *, region: str | None = None
) -> Checkout:
    """Take entitlements for the pod `identity`, or find what its client token has taken.

    A checkout belongs to the account, so any pod may extend or return it. `region` is the one that is called; None is
    the home Region of every license.

    Raises:
        ServiceError: The refusal.
    """
    earlier = state.checkouts.get(request.client_token)
    if earlier is not None:
        if earlier.request != request:
            raise _invalid("The ClientToken was used for a checkout with other parameters.")
        return earlier
    names = [asked.name for asked in request.entitlements]
    if not names or len(set(names)) != len(names):
        raise _invalid("Entitlements: each entitlement must be named once.", Rule.SHAPE)
    license_ = newest_license(state, now, request.sku, request.fingerprint)
    if license_ is None:
        raise _no_entitlements("No license of this product gives the right.", Rule.LICENSE)
    check_region(license_, region)
    for asked in request.entitlements:
        _check_entitlement(state, now, license_, asked)
    checkout = Checkout(
        request=request,
        license_arn=license_.arn,
        identity=identity,
        issued_at=now,
        consumption_token=_consumption_token(request.client_token, 0),
        expires_at=None if request.checkout_type == PERPETUAL else now + TIME_TO_LIVE,
    )
    state.keep(checkout)
    return checkout


def check_in_license(state: State, now: datetime, token: str, *, region: str | None = None) -> None:
    """Return a provisional checkout; raises ServiceError."""
    checkout = _find(state, now, token, region)
    license_ = state.licenses[checkout.license_arn]
    fixed = {terms.name for terms in license_.entitlements if terms.allow_check_in is False}
    if checkout.expires_at is None or fixed & {asked.name for asked in checkout.request.entitlements}:
        raise _invalid("The checkout does not allow a check-in.")
    state.keep(replace(checkout, returned_at=now))


def extend_license_consumption(
    state: State, now: datetime, token: str, *, new_token: bool = False, region: str | None = None
) -> Checkout:
    """Hold a provisional checkout for `TIME_TO_LIVE` from now; with `new_token` its token is replaced.

    Raises:
        ServiceError: The refusal.
    """
    checkout = _find(state, now, token, region)
    if checkout.expires_at is None:
        raise _invalid("A perpetual checkout cannot be extended.")
    if not gives_right(state.licenses[checkout.license_arn], now):
        raise ServiceError(
            "ResourceNotFoundException", "The license of the checkout is not available.", rule=Rule.LICENSE
        )
    extensions = checkout.extensions + 1 if new_token else checkout.extensions
    extended = replace(
        checkout,
        expires_at=now + TIME_TO_LIVE,
        extensions=extensions,
        consumption_token=_consumption_token(checkout.request.client_token, extensions),
    )
    state.keep(extended)
    return extended


def check_region(license_: License, region: str | None) -> None:
    """Refuse a license of another Region.

    Raises:
        ServiceError: RedirectException, with the home Region as its Location.
    """
    if region not in (None, license_.home_region):
        raise ServiceError(
            "RedirectException", "The license belongs to another Region.", members={"Location": license_.home_region}
        )


def _check_entitlement(state: State, now: datetime, license_: License, asked: EntitlementAsked) -> None:
    terms = next((each for each in license_.entitlements if each.name == asked.name), None)
    if terms is None or terms.unit != asked.unit:
        raise _no_entitlements("The license has no such entitlement in this unit.", Rule.UNIT)
    if terms.unit != NO_COUNT:
        amount = _read_amount(asked)
        held = amount_held(state.checkouts.values(), license_.arn, asked.name, now)
        if not _has_room(terms, held + amount):
            raise _no_entitlements("The maximum count of the entitlement is reached.", Rule.SEATS)


def _has_room(terms: EntitlementTerms, amount: Decimal) -> bool:
    return terms.overage is True or terms.max_count is None or amount <= terms.max_count


def _read_amount(asked: EntitlementAsked) -> Decimal:
    if asked.value is None:
        raise ServiceError("ValidationException", "Entitlements: a counted entitlement needs a Value.", rule=Rule.UNIT)
    try:
        amount = Decimal(asked.value)
    except InvalidOperation as error:
        raise _invalid("Entitlements: Value is not a number.", Rule.SHAPE) from error
    # An exponent of a thousand million digits must not become a number.
    if not amount.is_finite() or amount.adjusted() > _MOST_DIGITS or amount <= 0:
        raise _invalid("Entitlements: Value is not a positive number.", Rule.SHAPE)
    if asked.unit == "Count" and amount != int(amount):
        raise _invalid("Entitlements: Value is not a positive number.", Rule.SHAPE)
    return amount


def _find(state: State, now: datetime, token: str, region: str | None) -> Checkout:
    checkout = state.checkouts_by_token.get(token)
    if checkout is None or not is_held(checkout, now):
        raise ServiceError("ResourceNotFoundException", "The consumption token is unknown, or its checkout has ended.")
    if region not in (None, state.licenses[checkout.license_arn].home_region):
        raise ServiceError(
            "ResourceNotFoundException", "The consumption token is unknown in this Region.", rule=Rule.HOME_REGION
        )
    return checkout


def _consumption_token(client_token: str, extensions: int) -> str:
    return hashlib.sha256(f"{client_token}\x1f{extensions}".encode()).hexdigest()


def _invalid(message: str, rule: Rule = Rule.CHECKOUT) -> ServiceError:
    return ServiceError("InvalidParameterValueException", message, rule=rule)


def _no_entitlements(message: str, rule: Rule) -> ServiceError:
    return ServiceError("NoEntitlementsAllowedException", message, rule=rule)
