"""The paths of a contract price: what each refusal and each bad request becomes."""

import pytest

from sidecar.domain.entitlement.allowances import (
    CheckoutInDoubt,
    CheckoutNotEntitled,
    CheckoutRefused,
    CheckoutReused,
    LicenseUnavailable,
    NotReturnable,
    SeatsTaken,
    UnknownCheckout,
    UnknownEntitlement,
)
from tests.support.http_fakes import Api, request

CHECKOUT = b'{"id": "s/1", "entitlement": "users"}'
KINDS = [
    (UnknownEntitlement("x"), 404, "unknown-entitlement"),
    (UnknownCheckout("x"), 404, "unknown-checkout"),
    (CheckoutReused("x"), 409, "id-reused"),
    (SeatsTaken("x"), 409, "seats-taken"),
    (CheckoutInDoubt("x"), 409, "in-doubt"),
    (NotReturnable("x"), 409, "not-returnable"),
    (CheckoutNotEntitled("x"), 403, "not-entitled"),
    (LicenseUnavailable("x"), 503, "unavailable"),
]


async def post(api: Api, body: bytes) -> tuple[int, str]:
    """Post a checkout; its status and the last word of the problem, or the state."""
    reply = await api.post("/v1/checkouts", body)
    return reply.status, reply.document.get("state") or reply.document["type"].rpartition(":")[2]


async def test_checkout_is_made_once(api: Api) -> None:
    """A new checkout is 201, the same one again 200; its id may need an escape in the path."""
    assert [(201, "held"), (200, "held")] == [await post(api, CHECKOUT), await post(api, CHECKOUT)]
    listed = (await api.get("/v1/checkouts")).document["checkouts"]
    assert ["s/1"] == [each["id"] for each in listed]
    for method, path, status in (
        ("PUT", "/v1/checkouts/s%2F1", 200),
        ("PUT", "/v1/checkouts/s/1", 200),
        ("DELETE", "/v1/checkouts/s%2F1", 204),
        ("DELETE", "/v1/checkouts/s%2F1", 404),
        ("PUT", "/v1/checkouts/%FF", 400),
        ("PUT", "/v1/checkouts/", 400),
        ("POST", "/v1/checkouts/s", 405),
    ):
        assert status == (await api.exchange(request(method, path))).status, path


@pytest.mark.parametrize(("refusal", "status", "word"), KINDS)
async def test_each_refusal_is_a_problem(api: Api, refusal: CheckoutRefused, status: int, word: str) -> None:
    """Each refusal of the services has its status and its stable word."""
    assert api.licenses is not None
    api.licenses.refusal = refusal
    assert (status, word) == await post(api, CHECKOUT)
    reply = await api.get("/v1/entitlements/users")
    assert (status, word) == (reply.status, reply.document["type"].rpartition(":")[2])


@pytest.mark.parametrize(
    ("body", "status", "word"),
    [
        (b"[]", 422, "invalid-checkout"),
        (b"{}", 422, "invalid-checkout"),
        (b'{"id": "", "entitlement": "users"}', 422, "invalid-checkout"),
        (b'{"id": "a", "entitlement": "users", "count": 0}', 422, "invalid-checkout"),
        (b'{"id": "a", "entitlement": "users", "count": "1"}', 422, "invalid-checkout"),
        (b'{"id": "a", "entitlement": "users", "count": 1.5}', 422, "invalid-checkout"),
        (b'{"id": "a", "entitlement": "users", "count": 2147483648}', 422, "invalid-checkout"),
        (b'{"id": "a", "entitlement": "users", "drawdown": 1}', 422, "invalid-checkout"),
        (b'{"id": "a", "entitlement": "users", "more": 1}', 422, "invalid-checkout"),
        (b'{"id": "a", "id": "a", "entitlement": "users"}', 400, "malformed"),
        (b"nonsense", 400, "malformed"),
    ],
)
async def test_bad_checkout_is_refused(api: Api, body: bytes, status: int, word: str) -> None:
    """A body that breaks a rule is refused with every fault, and nothing is asked."""
    assert (status, word) == await post(api, body)
    assert api.licenses is not None
    assert {} == api.licenses.held


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 200),
        ("?requested=6", 200),
        ("?requested=0", 400),
        ("?requested=01", 400),
        ("?other=1", 400),
        ("?requested=2147483648", 400),
    ],
)
async def test_allowance_reads_its_query(api: Api, query: str, status: int) -> None:
    """`requested` is a whole number from 1 on."""
    assert status == (await api.get(f"/v1/entitlements/AWS::Marketplace::Usage{query}")).status


async def test_other_prices_have_no_such_paths() -> None:
    """Without a contract price these paths do not exist, and the answer names the reason."""
    api = Api(licenses=None)
    await api.start()
    try:
        for method, path in (("GET", "/v1/checkouts"), ("PUT", "/v1/checkouts/a"), ("GET", "/v1/entitlements/users")):
            reply = await api.exchange(request(method, path))
            assert 404 == reply.status
            assert reply.document["type"].endswith(":not-found")
            assert "entitlement.check" in reply.document["detail"]
    finally:
        await api.stop()
