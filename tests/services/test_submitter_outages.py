"""An outage from its socket to the books: what never left is carried or expires, what may be taken is in doubt."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from sidecar.domain.policy import LatePolicy
from sidecar.marketplace import Endpoint, MarketplaceError, MeterUsageRequest
from sidecar.marketplace.sdk import Connection
from sidecar.marketplace.wire import members, meter_usage_result
from tests.marketplace import fronts
from tests.marketplace.fronts import Front, Step, answering, reading, saying, with_tls
from tests.support.books import HOUR, NOW, RULES, event
from tests.support.certificates import Authority

if TYPE_CHECKING:
    from tests.services.conftest import Metering

AT_ONCE = replace(RULES, spread=timedelta())
UNBILLED = replace(AT_ONCE, late=LatePolicy.UNBILLED)
NEVER_LEFT: dict[str, Step] = {
    "reset": fronts.reset,
    "plain": fronts.speak_plainly,
    "closed": fronts.hang_up_on_hello,
}
MAYBE_TAKEN: dict[str, Step] = {
    "dropped": with_tls(reading(fronts.close)),
    "internal": with_tls(reading(saying(answering("500 Oops", {"__type": "InternalServiceErrorException"})))),
    "throttled by a 503": with_tls(reading(saying(answering("503 Oops", {"__type": "ThrottlingException"})))),
    "unknown": with_tls(reading(saying(answering("400 Oops", {"__type": "BrandNewException"})))),
    "page": with_tls(reading(saying(answering("407 Proxy", fronts.PAGE, "text/html")))),
    "no id": with_tls(reading(saying(answering("200 OK", {})))),
}


@pytest.fixture(autouse=True)
def _logs() -> Iterator[None]:
    with capture_logs():
        yield


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """The authority that the SDK trusts."""
    authority = Authority(tmp_path, "authority")
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority.bundle))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    return authority


def provoke(step: Step, authority: Authority) -> MarketplaceError:
    """Return the error that the client makes of a front that does this."""
    request = MeterUsageRequest(product_code="code", timestamp=NOW, usage_dimension="requests")
    with Front(step, context=authority.context("localhost")) as front:
        endpoint = Endpoint(region_name="eu-west-1", endpoint_url=f"https://localhost:{front.port}")
        with closing(Connection(endpoint)) as connection, pytest.raises(MarketplaceError) as caught:
            meter_usage_result(request, connection.send("MeterUsage", members(request)))
    return caught.value


async def live_through(metering: "Metering", error: MarketplaceError, rules: object = AT_ONCE) -> None:
    """Use 5 in the hour of ten, and let every call for it fail so until seven hours are over."""
    metering.marketplace.always["requests"] = error
    await metering.start(rules)  # type: ignore[arg-type]
    metering.use(event("5"))
    await metering.until(18)
    del metering.marketplace.always["requests"]


@pytest.mark.parametrize("fault", NEVER_LEFT)
async def test_outage_without_attempt_is_carried(metering: "Metering", authority: Authority, fault: str) -> None:
    """After an outage in which nothing left, the hour is carried and submitted; nothing is in doubt."""
    await live_through(metering, provoke(NEVER_LEFT[fault], authority))
    await metering.until(20)
    assert ("carried", None) == metering.statuses()[0]
    assert {"accepted": "5", "submitted": "5"} == metering.books.shown()


async def test_outage_without_attempt_expires(metering: "Metering", authority: Authority) -> None:
    """With `late: unbilled` it has expired, which is certain, and not in doubt."""
    await live_through(metering, provoke(fronts.reset, authority), UNBILLED)
    assert ("unbilled", "expired") == metering.statuses()[0]


@pytest.mark.parametrize("fault", MAYBE_TAKEN)
async def test_outage_with_attempts_is_in_doubt(metering: "Metering", authority: Authority, fault: str) -> None:
    """After an outage in which AWS may have taken each attempt, the hour is in doubt and is not submitted again."""
    await live_through(metering, provoke(MAYBE_TAKEN[fault], authority))
    assert ("unbilled", "in-doubt") == metering.statuses()[0]
    assert {"accepted": "5", "unbilled": "5"} == metering.books.shown()
    tokens = {request.client_token for request in metering.marketplace.requests if request.timestamp.hour == 10}
    assert 1 == len(tokens)


@pytest.mark.parametrize(("fault", "submitted"), [("reset", "5"), ("internal", "0"), ("dropped", "0")])
async def test_successor_bills_only_what_never_left(
    metering: "Metering", authority: Authority, fault: str, submitted: str
) -> None:
    """The pod that finds the ledger carries what never left, and never bills again what AWS may have taken."""
    metering.marketplace.always["requests"] = provoke({**NEVER_LEFT, **MAYBE_TAKEN}[fault], authority)
    await metering.start(AT_ONCE)
    metering.use(event("5"))
    await metering.until(11, 30)
    await metering.kill()
    del metering.marketplace.always["requests"]

    metering.books.restart("pod-2")
    metering.books.pass_time(HOUR)
    metering.books.seal_ended()
    metering.books.submit_all()
    shown = metering.books.shown()
    assert submitted == shown.get("submitted", "0")
    assert ("5" if submitted == "0" else "0") == shown.get("unbilled", "0")
