"""Canned answers for the SDK, and the addresses that it would call."""

from collections.abc import Callable, Iterator
from typing import Any

from botocore.awsrequest import AWSResponse

from sidecar.marketplace.sdk import Connection

MEMBERS = {"ProductCode": "code", "Timestamp": 0, "UsageDimension": "requests", "ClientToken": "token"}
GRANTED = b"""<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>
<AccessKeyId>ASIAPOD</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken>
<Expiration>2999-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleWithWebIdentityResult>
</AssumeRoleWithWebIdentityResponse>"""


class _Body:
    """The raw body of a canned answer."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def stream(self) -> Iterator[bytes]:
        """Yield the body."""
        yield self._content


def canned(content: bytes, urls: list[str]) -> Callable[..., AWSResponse]:
    """Return a hook that answers in the network's place and keeps the address that was called."""

    def answer(request: Any, **_: object) -> AWSResponse:
        urls.append(request.url)
        return AWSResponse(request.url, 200, {}, _Body(content))

    return answer


def listened(connection: Connection) -> list[str]:
    """Cut the connection off from the network and return the list of addresses that it will call."""
    urls: list[str] = []
    connection.session.register("before-send.sts", canned(GRANTED, urls))
    connection.session.register("before-send.marketplace-metering", canned(b'{"MeteringRecordId": "1"}', urls))
    return urls
