"""What a restarted process remembers, and what it does not."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from sidecar.domain.entitlement.binding import bind
from sidecar.domain.entitlement.states import EntitlementSource, Evidence, State
from sidecar.marketplace.errors import NoAnswer
from sidecar.marketplace.service_errors import (
    CustomerNotEntitledException,
)
from sidecar.services.registrar import RegistrarSettings

if TYPE_CHECKING:
    from tests.conftest import Signer
    from tests.services.registrar.conftest import Scene

SETTINGS = RegistrarSettings(product_code="0abc123example", public_key_version=1, dimensions=("requests", "seats"))
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


async def test_remembered_after_restart(scene: "Scene") -> None:
    """A restarted process is entitled from memory once AWS cannot be reached, and until its time is over."""
    await scene.start()
    proof = scene.shelf.kept
    assert proof is not None
    await scene.clock.advance(timedelta(hours=1))
    scene.marketplace.hold.clear()
    scene.marketplace.says(NoAnswer())
    registrar = await scene.start()
    unanswered = registrar.entitlement()
    scene.marketplace.hold.set()
    await scene.clock.settle()
    remembered = registrar.entitlement()
    await scene.clock.advance(timedelta(hours=22, minutes=59))
    still = registrar.entitlement()
    await scene.clock.advance(MINUTE)

    assert State.PENDING is unanswered.state
    assert (
        State.ENTITLED,
        "remembered",
        EntitlementSource.REMEMBERED,
    ) == (remembered.state, remembered.reason, remembered.source)
    assert (proof.registered_at, proof.registered_at + timedelta(hours=24), proof.signature) == (
        remembered.registered_at,
        remembered.until,
        remembered.signature,
    )
    assert (State.ENTITLED, State.UNAVAILABLE) == (still.state, registrar.entitlement().state)


async def test_live_again_after_memory(scene: "Scene") -> None:
    """When AWS answers again the memory gives way to a live entitlement with new evidence."""
    await scene.start()
    old = scene.shelf.kept
    await scene.clock.advance(timedelta(hours=23))
    scene.marketplace.says(NoAnswer(), None)
    registrar = await scene.start()
    await scene.clock.advance(MINUTE)

    entitlement = registrar.entitlement()
    assert ("registered", EntitlementSource.LIVE, None) == (entitlement.reason, entitlement.source, entitlement.until)
    assert scene.shelf.kept is not None
    assert old != scene.shelf.kept
    assert [
        "registration.retrying",
        "registration.entitled",
        "registration.recovered",
        "registration.entitled",
    ] == [event for event in scene.events()[1:] if event != "registration.renewed"]


def forget_signature(kept: Evidence) -> Evidence:
    """Return evidence whose signature was tampered with."""
    return replace(kept, signature=kept.signature[:-6] + "AAAAAA")


@pytest.mark.parametrize(
    "change",
    [
        lambda kept: replace(kept, pod="pod-2"),
        lambda kept: replace(kept, nonce=bind("pod-2", "q" * 43)),
        lambda kept: replace(kept, product_code="0other"),
        lambda kept: replace(kept, public_key_version=2),
        lambda kept: replace(kept, nonce="another"),
        lambda kept: replace(kept, signature=""),
        forget_signature,
        lambda kept: replace(kept, registered_at=kept.registered_at + timedelta(hours=2)),
        lambda kept: replace(kept, registered_at=kept.registered_at - timedelta(hours=2)),
    ],
    ids=[
        "pod",
        "nonce of another pod",
        "product",
        "key version",
        "nonce",
        "no signature",
        "signature",
        "made young",
        "made old",
    ],
)
async def test_evidence_that_proves_nothing(scene: "Scene", change: Callable[[Evidence], Evidence]) -> None:
    """Evidence of another pod, product or key, or whose signature or time does not fit, admits no pod."""
    await scene.start()
    assert scene.shelf.kept is not None
    scene.shelf.kept = change(scene.shelf.kept)
    await scene.clock.advance(timedelta(hours=2))
    scene.marketplace.says(NoAnswer())
    registrar = await scene.start()

    assert State.PENDING is registrar.entitlement().state


async def test_edited_name_opens_no_other_pod(scene: "Scene") -> None:
    """A copied signature next to which another pod's name is written does not let that pod in: AWS signed the name."""
    await scene.start()
    assert scene.shelf.kept is not None
    scene.shelf.kept = replace(scene.shelf.kept, pod="pod-2")
    scene.pod = "pod-2"
    scene.marketplace.says(NoAnswer())
    registrar = await scene.start()

    assert State.PENDING is registrar.entitlement().state
    refused = next(line for line in scene.lines.entries if line["event"] == "registration.evidence_refused")
    assert "pod-binding" == refused["rule"]


async def test_proof_of_earlier_version_is_made_anew(scene: "Scene", seller: "Signer") -> None:
    """Evidence whose nonce names no pod proves nothing; the pod is pending until AWS answers, and then entitled."""
    claims = {"productCode": "0abc123example", "publicKeyVersion": 1, "nonce": "n" * 43}
    token = seller.token({**claims, "iat": int(scene.clock.now().timestamp())})
    scene.shelf.kept = Evidence(scene.pod, "0abc123example", 1, scene.clock.now(), "n" * 43, token)
    scene.marketplace.says(NoAnswer(), None)
    registrar = await scene.start()
    before = registrar.entitlement()
    await scene.clock.advance(MINUTE)

    assert (State.PENDING, State.ENTITLED) == (before.state, registrar.entitlement().state)


async def test_frozen_clock_keeps_memory(scene: "Scene") -> None:
    """The memory runs out by the clock of this machine alone: while that does not move, it does not."""
    await scene.start()
    scene.marketplace.says(NoAnswer())
    registrar = await scene.start()
    frozen = registrar.entitlement()
    registrar = await scene.start()

    assert (State.ENTITLED, frozen.until) == (registrar.entitlement().state, registrar.entitlement().until)


async def test_memory_switched_off(scene: "Scene") -> None:
    """With remember_for: 0 nothing is remembered."""
    await scene.start()
    scene.marketplace.says(NoAnswer())
    registrar = await scene.start(replace(SETTINGS, remember_for=timedelta()))

    assert State.PENDING is registrar.entitlement().state


async def test_refusal_beats_memory_for_ever(scene: "Scene") -> None:
    """A restarted process that is refused is denied, and so is nothing remembered by the process after it."""
    await scene.start()
    scene.marketplace.says(CustomerNotEntitledException())
    second = await scene.start()
    writes = scene.shelf.writes
    scene.marketplace.says(NoAnswer())
    third = await scene.start()

    assert (State.DENIED, State.PENDING) == (second.entitlement().state, third.entitlement().state)
    assert (2, 2) == (writes, scene.shelf.writes)
    assert "registration.evidence_refused" not in scene.events()


async def test_refusal_is_kept_later(scene: "Scene") -> None:
    """A suspension that the ledger refused is written with AWS's next answer, so a restart cannot bypass it."""
    registrar = await scene.start()
    scene.shelf.full = True
    await registrar.on_submission(accepted=False)
    scene.shelf.full = False
    await registrar.on_submission(accepted=False)
    writes = scene.shelf.writes
    await registrar.on_submission(accepted=False)

    assert writes == scene.shelf.writes
    assert State.SUSPENDED is (await scene.start()).entitlement().state


async def test_full_disk(scene: "Scene") -> None:
    """Evidence that cannot be read is logged once; AWS's word counts all the same, and is kept later."""
    scene.shelf.full = True
    registrar = await scene.start()
    await scene.clock.advance(MINUTE)

    assert registrar.entitlement().entitled
    assert ["registration.evidence_not_read", "registration.entitled"] == scene.events()
    scene.shelf.full = False
    await scene.clock.advance(MINUTE)
    assert scene.shelf.kept is not None


async def test_memory_is_read_later(scene: "Scene") -> None:
    """A ledger that fails the start is read again: a pod that AWS does not answer is entitled from memory then."""
    await scene.start()
    scene.shelf.full = True
    scene.marketplace.says(NoAnswer())
    registrar = await scene.start()
    await scene.clock.advance(40 * SECOND)  # the next call is due 20 seconds later
    unread = registrar.entitlement().state
    scene.shelf.full = False
    await scene.clock.advance(2 * SECOND)

    assert (State.PENDING, "remembered") == (unread, registrar.entitlement().reason)


@pytest.mark.parametrize("accepted", [False, True])
async def test_suspension_is_read_later(scene: "Scene", *, accepted: bool) -> None:
    """A suspension of an earlier process counts once it is read, unless AWS has taken a record since."""
    await (await scene.start()).on_submission(accepted=False)
    await scene.clock.advance(SECOND)
    scene.shelf.full = True
    scene.marketplace.hold.clear()
    registrar = await scene.start()
    if accepted:
        scene.shelf.accept(scene.clock.now())
    scene.shelf.full = False
    scene.marketplace.hold.set()
    await scene.clock.settle()

    assert (State.ENTITLED if accepted else State.SUSPENDED) is registrar.entitlement().state
    assert scene.shelf.kept is not None
    assert accepted is (scene.shelf.kept.suspended_at is None)


@pytest.mark.parametrize("unread", [False, True])
async def test_record_ends_a_suspension_that_was_not_read(scene: "Scene", *, unread: bool) -> None:
    """A record that AWS took ends a suspension that is older, also where AWS has not registered the pod yet."""
    await (await scene.start()).on_submission(accepted=False)
    await scene.clock.advance(SECOND)
    scene.marketplace.says(NoAnswer())
    scene.shelf.full = True
    registrar = await scene.start()
    await registrar.on_submission(accepted=True)
    scene.shelf.full = False
    if unread:
        await scene.clock.advance(2 * SECOND)  # the record itself is stored after that
    else:
        scene.shelf.accept(scene.clock.now())
        registrar = await scene.start()
    asking = registrar.entitlement().reason
    scene.marketplace.says(None)
    await scene.clock.advance(MINUTE)

    assert ("remembered", "registered") == (asking, registrar.entitlement().reason)


@pytest.mark.parametrize(("after", "state"), [(SECOND, State.ENTITLED), (HOUR, State.SUSPENDED)])
async def test_suspension_of_an_older_version(scene: "Scene", after: timedelta, state: State) -> None:
    """Only times tell there whether AWS has taken a record since; one from the future ends nothing, also later."""
    await (await scene.start()).on_submission(accepted=False)
    assert scene.shelf.kept is not None
    scene.shelf.kept = replace(scene.shelf.kept, follows_records=False)
    scene.shelf.accepted_at = scene.clock.now() + after
    await scene.clock.advance(MINUTE)
    found = []
    for _ in range(2):
        found.append((await scene.start()).entitlement().state)
        await scene.clock.advance(HOUR)

    assert [state] * 2 == found


@pytest.mark.parametrize("ahead", [timedelta(), 10 * MINUTE])
async def test_new_suspension_survives_the_read(scene: "Scene", ahead: timedelta) -> None:
    """What the ledger has from before lifts no suspension of this process, though a clock was fast then."""
    await scene.start()
    scene.shelf.accepted_at = scene.clock.now() + ahead
    scene.shelf.full = True
    registrar = await scene.start()
    await registrar.on_submission(accepted=False)
    scene.shelf.full = False
    await scene.clock.advance(2 * SECOND)

    assert State.SUSPENDED is registrar.entitlement().state
    assert State.SUSPENDED is (await scene.start()).entitlement().state


async def test_refusal_voids_memory_that_is_read_later(scene: "Scene") -> None:
    """A refusal beats a memory that could not be read before it, also in the process after it."""
    await scene.start()
    scene.shelf.full = True
    scene.marketplace.says(CustomerNotEntitledException())
    second = await scene.start()
    scene.shelf.full = False
    await scene.clock.advance(2 * SECOND)
    assert State.DENIED is second.entitlement().state
    scene.marketplace.says(NoAnswer())
    third = await scene.start()

    assert State.PENDING is third.entitlement().state
