"""How a pod gets registered, refused and retried."""

import asyncio
import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from sidecar.adapters.signature import PublicKeys
from sidecar.domain.entitlement.binding import PREFIX, is_bound
from sidecar.domain.entitlement.states import EntitlementSource, Evidence, State
from sidecar.domain.policy import OnDenied
from sidecar.marketplace.emulation import EmulatorUnreachable
from sidecar.marketplace.errors import AccessDenied, CredentialsMissing, MarketplaceError, NoAnswer, UnknownAnswer
from sidecar.marketplace.service_errors import (
    CustomerNotEntitledException,
    CustomerNotSubscribedException,
    InternalServiceErrorException,
    InvalidPublicKeyVersionException,
    PlatformNotSupportedException,
    ThrottlingException,
)
from sidecar.marketplace.unreachable import CertificateRefused, ProxyUnreachable, TokenServiceUnreachable
from sidecar.services.registrar import DeniedExit, RegistrarSettings
from tests.support.tools import PATIENCE

if TYPE_CHECKING:
    from tests.conftest import Signer
    from tests.services.registrar.conftest import Scene

SETTINGS = RegistrarSettings(product_code="0abc123example", public_key_version=1, dimensions=("requests", "seats"))
MINUTE = timedelta(minutes=1)
ROTATED = datetime(2026, 12, 1, tzinfo=UTC)


async def test_registers_at_once(scene: "Scene") -> None:
    """A pod is pending until AWS has answered, and then entitled with AWS's own signature over its nonce."""
    scene.marketplace.hold.clear()
    registrar = await scene.start()
    before = registrar.entitlement()
    scene.marketplace.hold.set()
    await scene.clock.settle()
    after = registrar.entitlement()

    assert (State.PENDING, "registering", None) == (before.state, before.reason, before.signature)
    assert (State.ENTITLED, "registered", EntitlementSource.LIVE) == (after.state, after.reason, after.source)
    assert after.nonce == scene.marketplace.registrations[0].nonce
    assert scene.shelf.kept == Evidence(
        "pod-1", "0abc123example", 1, scene.clock.now(), after.nonce or "", after.signature or "", follows_records=True
    )
    assert ["registration.entitled"] == scene.events()


async def test_emulator_source(scene: "Scene") -> None:
    """An entitlement that the emulator gave shows it."""
    registrar = await scene.start(replace(SETTINGS, emulator=True))

    assert EntitlementSource.EMULATOR is registrar.entitlement().source


async def test_asks_once(scene: "Scene") -> None:
    """A registered pod that remembers nothing calls no more: AWS meters it by itself."""
    await scene.start(replace(SETTINGS, remember_for=timedelta()))
    await scene.clock.advance(timedelta(days=2))

    assert 1 == len(scene.marketplace.registrations)


async def test_fresh_long_nonces(scene: "Scene") -> None:
    """Every call has a nonce of its own, of 256 random bits, that names the pod."""
    scene.marketplace.says(NoAnswer(), NoAnswer(), None)
    await scene.start()
    await scene.clock.advance(MINUTE)

    nonces = [request.nonce or "" for request in scene.marketplace.registrations]
    random = [nonce.removeprefix(PREFIX).partition(".")[0] for nonce in nonces]
    assert (3, {43}) == (len(set(random)), {len(part) for part in random})
    assert all(is_bound(nonce, scene.pod) for nonce in nonces)


@pytest.mark.parametrize(
    ("error", "reason", "cure"),
    [
        (ThrottlingException("slow"), "throttled", "spreads and repeats its calls"),
        (InternalServiceErrorException("oops"), "service-fault", "AWS Support"),
        (UnknownAnswer("502"), "service-fault", "proxy"),
        (NoAnswer("time-out"), "unreachable", "Check the network"),
        (ProxyUnreachable("refused"), "unreachable", "HTTPS_PROXY"),
        (TokenServiceUnreachable("refused"), "unreachable", "VPC endpoint for STS"),
        (CertificateRefused("self-signed"), "unreachable", "AWS_CA_BUNDLE"),
        (EmulatorUnreachable("refused"), "unreachable", "Start the emulator"),
        (CredentialsMissing("none"), "credentials-missing", "IRSA"),
        (AccessDenied("no"), "access-denied", "aws-marketplace:RegisterUsage"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_faults_are_retried(scene: "Scene", error: MarketplaceError, reason: str, cure: str) -> None:
    """What is no refusal is asked again: pending for retry_for, then unavailable, and entitled when AWS answers."""
    scene.marketplace.says(error)
    registrar = await scene.start()
    pending = registrar.entitlement()
    await scene.clock.advance(30 * MINUTE)
    unavailable = registrar.entitlement()
    scene.marketplace.says(None)
    await scene.clock.advance(MINUTE)

    assert [(State.PENDING, reason), (State.UNAVAILABLE, reason)] == [
        (entitlement.state, entitlement.reason) for entitlement in (pending, unavailable)
    ]
    assert (True, error.cure) == (cure in pending.detail, unavailable.cure)
    assert State.ENTITLED is registrar.entitlement().state
    assert "registration.recovered" in scene.events()


class Corrected(PublicKeys):
    """A key whose file has been corrected since it was read, or has not."""

    def __init__(self, read: "Signer", corrected: "Signer | None") -> None:
        super().__init__({1: read.key.public_key()})
        self.corrected = corrected
        self.reloads = 0

    async def reload(self, version: int) -> bool:
        """Read it again."""
        self.reloads += 1
        if self.corrected is None:
            return False
        self._keys[version] = self.corrected.key.public_key()
        return True


async def test_corrected_key_needs_no_restart(scene: "Scene", seller: "Signer", stranger: "Signer") -> None:
    """A wrong key closes the gate until its file is right: the next registration reads it again."""
    keys = scene.keys = Corrected(stranger, None)
    registrar = await scene.start()
    denied = registrar.entitlement()
    keys.corrected = stranger
    await scene.clock.advance(5 * MINUTE)
    still = registrar.entitlement()
    keys.corrected = seller
    await scene.clock.advance(5 * MINUTE)

    assert [(State.DENIED, "signature-invalid")] * 2 == [(each.state, each.reason) for each in (denied, still)]
    assert State.ENTITLED is registrar.entitlement().state
    assert 3 == len(scene.marketplace.registrations)


async def test_other_refusals_read_no_key(scene: "Scene", seller: "Signer") -> None:
    """An answer to another question is refused under every key."""
    keys = scene.keys = Corrected(seller, seller)
    scene.marketplace.claims = {"nonce": "of another call"}
    registrar = await scene.start()

    assert (State.DENIED, 0) == (registrar.entitlement().state, keys.reloads)


async def test_back_off(scene: "Scene") -> None:
    """Waits double from one second to a minute, each a uniform draw from its window."""
    scene.marketplace.says(ThrottlingException())
    await scene.start()
    await scene.clock.advance(3 * MINUTE)

    instants = scene.marketplace.called_at[:10]
    waits = [(late - early).total_seconds() for early, late in itertools.pairwise(instants)]
    assert [0.5, 1, 2, 4, 8, 16, 30, 30, 30] == waits


async def test_lasting_fault_is_logged_seldom(scene: "Scene") -> None:
    """Equal faults make one line immediately and then one a minute; the end makes one that counts them."""
    scene.marketplace.says(ThrottlingException())
    await scene.start()
    await scene.clock.advance(4 * MINUTE)
    lines = scene.events("registration.retrying")
    scene.marketplace.says(None)
    await scene.clock.advance(MINUTE)

    assert 4 <= len(lines) <= 5
    recovered = next(line for line in scene.lines.entries if line["event"] == "registration.recovered")
    assert recovered["faults"] == len(scene.marketplace.registrations) - 1


@pytest.mark.parametrize(
    ("error", "reason", "cure"),
    [
        (CustomerNotEntitledException(), "customer-not-entitled", "Subscribe to the product"),
        (CustomerNotSubscribedException(), "customer-not-entitled", "Subscribe to the product"),
        (PlatformNotSupportedException(), "platform-not-supported", "mode: emulator"),
        (InvalidPublicKeyVersionException(), "invalid-public-key-version", "product.public_key_version"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_refusals_deny(scene: "Scene", error: MarketplaceError, reason: str, cure: str) -> None:
    """An explicit refusal denies immediately, names the cure, and is asked again every 5 minutes until AWS says yes."""
    scene.marketplace.says(error)
    registrar = await scene.start()
    denied = registrar.entitlement()
    await scene.clock.advance(5 * MINUTE - timedelta(seconds=1))
    calls_before = len(scene.marketplace.registrations)
    scene.marketplace.says(None)
    await scene.clock.advance(timedelta(seconds=1))

    assert (State.DENIED, reason) == (denied.state, denied.reason)
    assert cure in denied.detail
    assert (1, 2) == (calls_before, len(scene.marketplace.registrations))
    assert State.ENTITLED is registrar.entitlement().state
    assert ["registration.denied", "registration.entitled"] == scene.events()


async def test_clock_back_prolongs_no_wait(scene: "Scene") -> None:
    """A clock that steps back by days does not keep a buyer out who has subscribed meanwhile."""
    scene.recheck_after = timedelta(milliseconds=1)
    scene.marketplace.says(CustomerNotEntitledException(), None)
    registrar = await scene.start()
    scene.clock.step(timedelta(days=-3))
    async with asyncio.timeout(PATIENCE):
        while scene.clock.next_instant() != scene.clock.now() + 5 * MINUTE:  # noqa: ASYNC110 - the sleeper sends no signal
            await asyncio.sleep(0.001)
    await scene.clock.advance(5 * MINUTE)

    assert State.ENTITLED is registrar.entitlement().state


async def test_fault_leaves_denied(scene: "Scene") -> None:
    """A fault is no answer: a pod that was refused stays denied for the reason of the refusal."""
    scene.marketplace.says(CustomerNotEntitledException(), NoAnswer())
    registrar = await scene.start()
    await scene.clock.advance(40 * MINUTE)

    assert (State.DENIED, "customer-not-entitled") == (registrar.entitlement().state, registrar.entitlement().reason)
    assert 9 == len(scene.marketplace.registrations)


async def test_exit_when_denied(scene: "Scene") -> None:
    """With on_denied: exit a refusal ends the run, with the reason; a fault does not."""
    scene.marketplace.says(NoAnswer(), PlatformNotSupportedException())
    run = scene.run(scene.make(replace(SETTINGS, on_denied=OnDenied.EXIT)))
    await scene.clock.settle()
    assert not run.done()
    await scene.clock.advance(MINUTE)

    with pytest.raises(DeniedExit, match="platform-not-supported: ") as ended:
        await run
    assert State.DENIED is ended.value.entitlement.state


@pytest.mark.parametrize(
    ("claims", "rule"),
    [
        ({"nonce": "of another call"}, "nonce"),
        ({"productCode": "0other"}, "productCode"),
        ({"publicKeyVersion": 2}, "publicKeyVersion"),
        ({"iat": 1}, "iat"),
    ],
    ids=["nonce", "product", "version", "time"],
)
async def test_wrong_claims_deny(scene: "Scene", claims: dict[str, object], rule: str) -> None:
    """A signed answer to another question denies, and names which claim was wrong."""
    scene.marketplace.claims = claims
    registrar = await scene.start()

    denied = registrar.entitlement()
    assert (State.DENIED, "signature-invalid") == (denied.state, denied.reason)
    assert f"the claim {rule} " in denied.detail


async def test_wrong_signature_is_not_retried_quickly(scene: "Scene", stranger: "Signer") -> None:
    """A foreign signature denies; only a right one over a fresh nonce, 5 minutes later, lets the pod in."""
    right, scene.marketplace.seller = scene.marketplace.seller, stranger
    registrar = await scene.start()
    await scene.clock.advance(5 * MINUTE)
    denied = registrar.entitlement()
    scene.marketplace.seller = right
    await scene.clock.advance(5 * MINUTE)

    assert (State.DENIED, "signature-invalid") == (denied.state, denied.reason)
    assert "the signature is not that of the public key" in denied.detail
    assert State.ENTITLED is registrar.entitlement().state
    assert 3 == len({request.nonce for request in scene.marketplace.registrations})


async def test_no_secret_is_logged(scene: "Scene") -> None:
    """No line holds a nonce or a piece of a token."""
    scene.marketplace.claims = {"iat": 1}
    await scene.start()
    scene.marketplace.claims = {}
    await scene.clock.advance(5 * MINUTE)

    assert scene.shelf.kept is not None
    for secret in (
        *(request.nonce for request in scene.marketplace.registrations),
        *scene.shelf.kept.signature.split("."),
    ):
        assert secret is not None
        assert secret not in repr(scene.lines.entries)


async def test_key_rotation(scene: "Scene") -> None:
    """A key version that has expired is reported once, loudly, with its date, and the pod is entitled."""
    scene.marketplace.rotation = ROTATED
    registrar = await scene.start()
    await registrar.attest("the app's own")

    warnings = [line for line in scene.lines.entries if line["event"] == "registration.public_key_rotated"]
    assert [("warning", "2026-12-01T00:00:00+00:00")] == [(line["log_level"], line["rotation"]) for line in warnings]
    assert (True, ROTATED) == (registrar.entitlement().entitled, registrar.rotation_due)


@pytest.mark.parametrize("step", [timedelta(hours=9), timedelta(hours=-9)], ids=["forwards", "backwards"])
async def test_clock_stepped_meanwhile(scene: "Scene", step: timedelta) -> None:
    """A clock that follows AWS's is brought up to date before a token's time is judged by it, stepped or not."""
    true = scene.marketplace.clock = type(scene.clock)(scene.clock.now() + timedelta(hours=3))
    scene.marketplace.script = [lambda: true.step(step)]

    async def refresh() -> None:
        scene.clock.step(true.now() - scene.clock.now())

    scene.refresh_clock = refresh
    registrar = await scene.start()

    assert registrar.entitlement().entitled
    assert registrar.entitlement().registered_at == true.now()
