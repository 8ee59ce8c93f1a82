"""The forms of a body: JSON 1.1, and the CBOR of Smithy's RPC v2.

Refuses to know a service. Invariant: what `decode` raises is an error of the client's.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal, DecimalException
from typing import Any, NoReturn

from sidecar.emulator.protocol.errors import ServiceError
from sidecar.emulator.protocol.instants import epoch_seconds


@dataclass(frozen=True, slots=True)
class BodyCodec:
    """One form of a body, in both directions."""

    protocol: str
    """Its name in AWS's service models."""
    headers: Mapping[str, str]
    """Those of an answer."""
    decode: Callable[[bytes], Any]
    """Returns the document of a body; raises ServiceError."""
    encode: Callable[[Mapping[str, Any]], bytes]
    """Returns the body of an answer, whose instants are datetimes."""
    unknown: str
    """The refusal of a call without a known operation."""


def _decode_json(body: bytes) -> Any:
    try:
        return json.loads(body, parse_float=Decimal, parse_constant=_refuse_constant)
    except (ValueError, RecursionError, DecimalException) as error:
        raise ServiceError("SerializationException", "The body is not JSON.") from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _encode_json(members: Mapping[str, Any]) -> bytes:
    return json.dumps(members, default=epoch_seconds).encode()


def _decode_cbor(body: bytes) -> Any:
    import cbor2  # noqa: PLC0415 - few emulators get such a call

    try:
        return cbor2.loads(body)
    except cbor2.CBORDecodeError as error:
        raise ServiceError("SerializationException", "The body is not CBOR.") from error


def _encode_cbor(members: Mapping[str, Any]) -> bytes:
    import cbor2  # noqa: PLC0415 - as above

    return cbor2.dumps(members, datetime_as_timestamp=True)


JSON = BodyCodec(
    protocol="json",
    headers={"Content-Type": "application/x-amz-json-1.1"},
    decode=_decode_json,
    encode=_encode_json,
    unknown="X-Amz-Target names no operation of a service that the emulator plays.",
)
CBOR = BodyCodec(
    protocol="smithy-rpc-v2-cbor",
    headers={"Content-Type": "application/cbor", "Smithy-Protocol": "rpc-v2-cbor"},
    decode=_decode_cbor,
    encode=_encode_cbor,
    unknown="Smithy-Protocol and the path name no operation of a service whose model has smithy-rpc-v2-cbor.",
)
