"""ResolveCustomer: turns the registration token of a buyer's browser into the buyer.

Refuses tokens that it did not make and those past their hour.
"""

from datetime import datetime, timedelta

from sidecar.emulator.protocol.decisions import Rule
from sidecar.emulator.protocol.errors import ServiceError
from sidecar.emulator.state.entries import Customer, RegistrationToken
from sidecar.emulator.state.store import State

TOKEN_LIFETIME = timedelta(hours=1)
"""How long a registration token is good, on the emulator's clock."""


def resolve_customer(state: State, now: datetime, token: str) -> Customer:
    """Find the buyer of a registration token.

    Raises:
        ServiceError: InvalidTokenException for an unknown token, ExpiredTokenException for an old one.
    """
    known = state.registration_tokens.get(token)
    if known is None:
        raise ServiceError("InvalidTokenException", "The registration token is invalid.")
    if now >= known.expires_at:
        raise ServiceError(
            "ExpiredTokenException", "The submitted registration token has expired.", rule=Rule.REGISTRATION_TOKEN
        )
    return state.customers[known.license_arn]


def issue_token(state: State, now: datetime, token: str, customer: Customer) -> None:
    """Give the buyer a registration token that expires `TOKEN_LIFETIME` from now."""
    state.keep(RegistrationToken(token, customer.license_arn, now + TOKEN_LIFETIME))
