"""L1 to L5 under random sequences: answers, lost answers, restarts, kills, lost nodes, clock steps, license changes.

Two pods, each with a ledger of its own, share one seat. A model of License Manager, with its own time, is the judge.
"""

import asyncio
import contextlib
from dataclasses import replace
from datetime import datetime, timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidecar.domain.entitlement.allowances import CheckoutRefused, CheckoutRequest
from sidecar.domain.entitlement.license_policy import LicensePolicy, RequiredEntitlement
from sidecar.domain.entitlement.licenses import LicenseEntitlement
from sidecar.domain.entitlement.licensing import ADMIT_FOR
from sidecar.domain.entitlement.states import Reason, State
from sidecar.domain.policy import OnTaken
from tests.conftest import ManualClock
from tests.support.license_manager import HOME, Trouble, World
from tests.support.licensed_pods import REGION, Pod
from tests.support.licenses import ARN, FEATURE, GOOD, SEATS

MINUTE = timedelta(minutes=1)
REPORTS = LicenseEntitlement("reports", "Count", 1000)
LICENSE = replace(GOOD, end=None, entitlements=(SEATS, REPORTS, FEATURE))
POLICY = LicensePolicy(require=(RequiredEntitlement("seats", 1),))
PODS = ("old", "new")

passing = st.tuples(st.just("pass"), st.integers(1, 90))
trouble = st.tuples(st.just("trouble"), st.lists(st.sampled_from([None, *Trouble]), min_size=1, max_size=6))
of_pod = st.tuples(st.sampled_from(["start", "stop", "restart", "lose", "draw"]), st.sampled_from(PODS))
outage = st.tuples(st.just("outage"), st.sampled_from([(), (HOME,), (REGION,), (HOME, REGION)]))
harmless = st.lists(st.one_of(passing, trouble, of_pod, outage), min_size=1, max_size=25)
step = st.tuples(st.just("step"), st.sampled_from([-180, -61, -30, 30, 61, 180]))
change = st.tuples(
    st.just("license"), st.sampled_from(["AVAILABLE", "SUSPENDED", "DEACTIVATED", "EXPIRED", "DELETED", "missing"])
)
everything = st.lists(st.one_of(passing, trouble, of_pod, outage, step, change), min_size=1, max_size=30)


class Play:
    """Two pods and a License Manager, driven step by step."""

    def __init__(self, *, new_tokens: bool = False, on_taken: OnTaken = OnTaken.ADMIT) -> None:
        self.clock = ManualClock()
        self.shift = timedelta()
        self.world = World(lambda: self.clock.now() - self.shift, new_tokens=new_tokens)
        self.policy = replace(POLICY, on_taken=on_taken)
        self.pods = {name: self.fresh(name, 0) for name in PODS}
        self.lives = 0
        self.status = "AVAILABLE"

    def fresh(self, name: str, life: int) -> Pod:
        """Return a pod with an empty ledger."""
        return Pod(self.clock, self.world, self.policy, name=f"{name}-{life}")

    async def act(self, action: tuple[str, object]) -> None:
        """Do one thing."""
        match action:
            case "pass", int(minutes):
                await self.clock.advance(minutes * MINUTE)
            case "trouble", list(troubles):
                self.world.troubles.extend(troubles)
            case "outage", tuple(regions):
                self.world.down = set(regions)
            case "step", int(minutes):
                self.clock.step(minutes * MINUTE)
                self.shift += minutes * MINUTE
                for pod in self.pods.values():
                    pod.keeper.changes.wake()
            case "license", str(status):
                self.change(status)
            case str(what), str(name):
                await self.act_on(what, name)
            case _:
                raise AssertionError(action)
        await self.clock.settle()

    def change(self, status: str) -> None:
        """Change the license."""
        self.status = status
        if status == "missing":
            self.world.remove(ARN)
        else:
            self.world.grant(replace(LICENSE, status=status))

    async def act_on(self, what: str, name: str) -> None:
        """Do one thing to a pod."""
        pod = self.pods[name]
        match what:
            case "start" if pod.process is None:
                await pod.start()
            case "restart" if pod.process is not None:
                await pod.start()
            case "stop" | "lose":
                if what == "stop" and pod.process is not None:
                    await pod.stop()
                await pod.kill()
                self.lives += 1
                self.pods[name] = self.fresh(name, self.lives)
            case "draw" if pod.process is not None:
                with contextlib.suppress(CheckoutRefused):
                    await pod.app.check_out(CheckoutRequest(pod.name, "reports", 1, drawdown=True))

    async def end(self) -> None:
        """End every process."""
        for pod in self.pods.values():
            await pod.kill()

    def live_seats(self, pod: Pod) -> int:
        """Return how many seats AWS holds now for the requests of one ledger."""
        tokens = {row.client_token for row in pod.store.rows.values() if row.entitlement == "seats"}
        now = self.world.now()
        return sum(
            seat.request.client_token in tokens and (seat.expires_at is None or now < seat.expires_at)
            for seat in self.world.seats.values()
        )


def run(actions: list[tuple[str, object]], play: Play, check: "Check") -> int:
    """Play the actions, and check after each; return the seats that are held 60 minutes after the last pod is gone."""

    async def go() -> int:
        play.world.grant(LICENSE)
        for action in [*(("start", name) for name in PODS), *actions]:
            await play.act(action)
            check(play)
        await play.end()
        play.clock.step(60 * MINUTE)
        return play.world.held("seats")

    return asyncio.run(go())


class Check:
    """What must hold after each step."""

    def __call__(self, play: Play) -> None:
        """Judge a moment; raises AssertionError."""
        self.judge_tokens(play)
        for pod in play.pods.values():
            assert play.live_seats(pod) <= 1
        drawn = [each.client_token for each in play.world.checkouts if each.entitlements[0].name == "reports"]
        assert all(play.world.takings[token] <= 1 for token in drawn)

    def judge_tokens(self, play: Play) -> None:
        """Each client token belongs to one request for good."""
        requests = {each.client_token: each for each in play.world.checkouts}
        assert {requests[each.client_token] for each in play.world.checkouts} == set(play.world.checkouts)


class PayingBuyer(Check):
    """The license is good throughout: no pod is ever denied, and none waits for longer than a lost seat is held."""

    def __init__(self) -> None:
        self.began: dict[str, datetime] = {}

    def __call__(self, play: Play) -> None:
        """Judge a moment."""
        super().__call__(play)
        for pod in play.pods.values():
            if pod.process is None:
                continue
            began_at = self.began.setdefault(pod.name, pod.clock.now())
            assert pod.state() not in {State.DENIED, State.SUSPENDED}
            if pod.reason() == Reason.SEATS_TAKEN:
                assert pod.clock.now() >= began_at + ADMIT_FOR


@given(harmless)
@settings(max_examples=30, suppress_health_check=list(HealthCheck))
def test_paying_buyer_is_never_locked_out(actions: list[tuple[str, object]]) -> None:
    """L1, L2, L4: one seat and two pods, with lost answers, restarts, lost nodes and outages."""
    assert 0 == run(actions, Play(), PayingBuyer())


@given(everything)
@settings(max_examples=30, suppress_health_check=list(HealthCheck))
def test_at_most_what_was_asked(actions: list[tuple[str, object]]) -> None:
    """L2, L4: whatever the license and the clock do, a ledger holds one seat and a draw-down is drawn once."""
    assert 0 == run(actions, Play(), Check())


draws = st.lists(
    st.one_of(
        st.tuples(st.just("pass"), st.sampled_from([1, 30, 61, 90])),
        st.tuples(st.just("trouble"), st.lists(st.sampled_from([None, Trouble.LOST]), min_size=1, max_size=4)),
        st.tuples(st.sampled_from(["draw", "restart"]), st.just("old")),
        st.tuples(st.just("outage"), st.sampled_from([(), (HOME,)])),
        step,
    ),
    min_size=4,
    max_size=15,
)


@given(draws)
@settings(max_examples=40, suppress_health_check=list(HealthCheck))
def test_drawdown_is_drawn_once(actions: list[tuple[str, object]]) -> None:
    """L4: a draw-down whose answer was lost is never drawn twice, though AWS forgets client tokens after an hour."""
    assert 0 == run(actions, Play(), Check())


@given(
    st.lists(st.one_of(passing, trouble, of_pod, outage, step), max_size=20),
    st.sampled_from([None, "SUSPENDED", "EXPIRED"]),
)
@settings(max_examples=20, suppress_health_check=list(HealthCheck))
def test_gate_is_never_open_without_a_license(actions: list[tuple[str, object]], status: str | None) -> None:
    """L3: without a good license no sequence opens the gate of a pod that starts."""

    async def go() -> None:
        play = Play()
        if status is not None:
            play.world.grant(replace(LICENSE, status=status))
        play.world.grant(replace(LICENSE, arn="self-issued", issuer="aws:111122223333:me:issuer-fingerprint"))
        for action in actions:
            await play.act(action)
            assert State.ENTITLED not in {pod.state() for pod in play.pods.values()}
        await play.end()
        assert {} == play.world.seats

    asyncio.run(go())


@given(st.lists(st.one_of(passing, trouble, of_pod, outage), max_size=15), st.integers(0, 40), st.booleans())
@settings(max_examples=20, suppress_health_check=list(HealthCheck))
def test_stopped_license_closes_every_gate(actions: list[tuple[str, object]], minutes: int, lesser: bool) -> None:  # noqa: FBT001
    """L5: once AWS stops the license and answers, every gate closes, and opens again with the license."""

    async def go() -> None:
        play = Play()
        play.world.grant(LICENSE)
        if lesser:
            play.world.grant(replace(LICENSE, arn="lesser", entitlements=(FEATURE,)))
        for action in actions:
            await play.act(action)
        play.world.troubles.clear()
        play.world.down = set()
        for name in PODS:
            await play.act(("start", name))
        play.change("SUSPENDED")
        await play.act(("pass", 20 + minutes))
        states = {pod.state() for pod in play.pods.values()}
        assert states <= {State.SUSPENDED, State.DENIED}
        play.change("AVAILABLE")
        await play.act(("pass", 90))
        assert State.ENTITLED in {pod.state() for pod in play.pods.values()}
        assert not {State.SUSPENDED, State.DENIED} & {pod.state() for pod in play.pods.values()}
        await play.end()

    asyncio.run(go())
