"""RegisterUsage: admits a pod permanently, and returns the claims of its signature.

Refuses to sign: it returns the claims. Invariant: a pod that was let in is never told later that the customer is not
entitled, whatever has become of the subscription.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sidecar.emulator.protocol.errors import ServiceError
from sidecar.emulator.protocol.requests import RegisterUsageRequest
from sidecar.emulator.rules.usage_rules import check_price, check_product
from sidecar.emulator.state.entries import Registration
from sidecar.emulator.state.store import State


@dataclass(frozen=True, slots=True)
class Granted:
    """A registration to be signed."""

    key_version: int
    claims: dict[str, Any]
    """The content of the signed token, in AWS's spelling and order."""
    rotated_at: datetime | None
    """When the key version expired; None while it is the current one."""


def register_usage(state: State, now: datetime, identity: str, request: RegisterUsageRequest) -> Granted:
    """Register the pod `identity`; raises ServiceError."""
    check_product(state.seed, request.product_code)
    check_price(state.seed, "RegisterUsage")
    key = state.keys.get(request.public_key_version)
    if key is None:
        raise ServiceError("InvalidPublicKeyVersionException", "The product has no such public key version.")
    if (request.product_code, identity) not in state.registrations:
        if not state.entitled:
            raise ServiceError("CustomerNotEntitledException", "The customer has no subscription for the product.")
        state.keep(Registration(request.product_code, identity, request.public_key_version, now))
    claims: dict[str, Any] = {"productCode": request.product_code, "publicKeyVersion": request.public_key_version}
    if request.nonce is not None:
        claims["nonce"] = request.nonce
    claims["iat"] = int(now.timestamp())
    return Granted(request.public_key_version, claims, key.expired_at)
