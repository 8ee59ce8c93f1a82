"""A simulated world with a contract price, from its beginning to the hour after the last pod is gone."""

import asyncio
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from random import Random

from sidecar.domain.entitlement.allowances import CheckoutRefused, CheckoutRequest
from sidecar.domain.entitlement.licenses import License, LicenseEntitlement
from sidecar.domain.metering.events import LedgerUnavailable
from tests.simulation.clocks import World
from tests.simulation.disk import Crash, DiskFault
from tests.simulation.figures import Figures, Outcome
from tests.simulation.seat_audit import SeatAudit
from tests.simulation.seat_plan import MOST_PODS, Deed, SeatAction, SeatPlan
from tests.simulation.seat_pod import REGION, SeatPod
from tests.simulation.seat_service import REFUSALS, SeatFault, SeatService
from tests.simulation.witness import Breach
from tests.support.license_manager import HOME
from tests.support.license_manager import World as Account
from tests.support.licenses import FEATURE, GOOD
from tests.support.simulated_loop import SimulatedLoop, Stalled, uncollected

STEP = timedelta(minutes=5)
"""How often the supervisor looks at the processes, and the audit at the books."""
RECOVERY = timedelta(hours=3)
_USERS = LicenseEntitlement("users", "Count", 20)
_REPORTS = LicenseEntitlement("reports", "Count", 10_000)


@uncollected()
def live_with_seats(plan: SeatPlan, folder: Path) -> Outcome:
    """Carry out a plan on ledgers in `folder`."""
    loop = SimulatedLoop(Random(plan.seed))
    life = SeatLife(plan, folder, loop)
    try:
        loop.run_until_complete(life.run())
    except (Breach, Stalled, ExceptionGroup) as error:
        life.audit.breach = life.audit.breach or f"the simulation ended: {error!r}"
        with suppress(Stalled):
            loop.run_until_complete(life.put_away())
    finally:
        loop.close()
    breach = life.audit.breach
    if breach is None and loop.callback_errors:
        breach = f"a callback failed: {loop.callback_errors[0]!r}"
    return Outcome(breach, life.audit.trace, life.figures, {})


class SeatLife:
    """One world."""

    def __init__(self, plan: SeatPlan, folder: Path, loop: SimulatedLoop) -> None:
        self._plan = plan
        self._folder = folder
        self._loop = loop
        self._random = Random(plan.seed + 1)
        self._world = World(loop)
        self._account = Account(self._world.now, new_tokens=plan.new_tokens)
        self._service = SeatService(self._account, Random(plan.seed + 2))
        self._made = 0
        self._ids = 0
        self._storm = 0
        self._pods: list[SeatPod] = []
        self._license = self._draw_license(plan.most_seats)
        self.audit = SeatAudit(plan.policy, self._world, self._service)
        self.figures = Figures()

    async def run(self) -> None:
        """Live the plan, recover, and settle accounts."""
        self._account.grant(self._license)
        if self._plan.unreturned is not None:
            self._account.refused["CheckInLicense"] = REFUSALS[self._plan.unreturned]("injected")
        await self._add_pod()
        for action in self._plan.actions:
            await self._pass_time(timedelta(seconds=action.after))
            self.audit.note(f"ACTION {action.deed} {action.seed}")
            self.figures.faults[action.deed.value] += action.deed is not Deed.USE
            await self._perform(action, Random(action.seed))
            self.audit.judge(self._pods)
        await self._recover()

    async def put_away(self) -> None:
        """Let go of the files after a breach."""
        for pod in self._pods:
            await pod.bury()

    async def _perform(self, action: SeatAction, random: Random) -> None:  # noqa: C901, PLR0912, PLR0915 - one case an action
        pod = random.choice(self._pods)
        match action.deed:
            case Deed.USE:
                await self._use(pod, random)
            case Deed.REST:
                await self._pass_time(timedelta(hours=random.random() * 3))
            case Deed.WEATHER:
                worst = random.choice([0.1, 0.3, 0.9])
                struck = random.sample(list(SeatFault), random.randint(1, 3))
                self._change_weather({fault: worst / len(struck) for fault in struck})
                self._clear_after(random.random() * random.choice([0.2, 1, 4]) * 3600)
            case Deed.OUTAGE:
                self._account.down = random.choice([{HOME}, {REGION}, {HOME, REGION}])
                self._clear_after(random.random() * random.choice([1, 3]) * 3600)
            case Deed.DISK:
                if pod.process is not None:
                    pod.process.disk.arm(DiskFault.ERROR, random.randint(1, 30), random.choice([1, 1, 3]))
            case Deed.CRASH:
                await self._crash(pod)
                await self._pass_time(timedelta(seconds=random.random() * 300))
            case Deed.CRASH_AT_STATEMENT:
                end = random.choice([DiskFault.CRASH_BEFORE, DiskFault.CRASH_AFTER])
                if pod.process is not None:
                    pod.process.disk.arm(end, random.randint(1, 30), 1)
            case Deed.CRASH_WHEN_TAKEN:
                self._service.when_taken = lambda: self._kill(pod)
            case Deed.RESTART:
                ending = random.random() < 0.3
                await pod.stop(ending=ending)
                if ending:
                    pod.succeed()
                await self._pass_time(timedelta(seconds=random.random() * 30))
            case Deed.ROLL:
                await self._add_pod()
                await self._pass_time(timedelta(seconds=random.random() * 600))
                await self._remove(pod, ending=True)
            case Deed.LOSE_POD:
                await self._crash(pod)
                await self._remove(pod, ending=False)
                await self._pass_time(timedelta(seconds=random.random() * random.choice([30, 3600, 10_000])))
                await self._add_pod()
            case Deed.MORE:
                if len(self._pods) < MOST_PODS:
                    await self._add_pod()
            case Deed.FEWER:
                if len(self._pods) > 1:
                    await self._remove(pod, ending=True)
            case Deed.STEP:
                self._step(pod, random)
            case Deed.SUSPEND:
                self._world.suspend(timedelta(hours=random.random() * random.choice([1, 4])))
                self.audit.disturb()
                self._judge_anew()
            case Deed.STOP_LICENSE:
                self._change_license(replace(self._license, status="SUSPENDED"))
                self._loop.call_later(random.random() * 6 * 3600, self._mend_license)
            case Deed.AMEND:
                self._license = self._draw_license(random.choice([1, 2, 3]))
                self._mend_license()
            case Deed.RENEW:
                self._account.remove(self._license.arn)
                self._license = replace(self._license, arn=f"{self._license.arn}+", created_at=self._world.now())
                self._mend_license()
            case Deed.RESOLVE:
                await self._resolve_doubts()

    async def _use(self, pod: SeatPod, random: Random) -> None:
        """Let the app do one thing with its license."""
        if pod.process is None or pod.process.dead:
            return
        known = [row for row in pod.rows() if not row.drawdown and row.entitlement == "users"]
        drawn = [row for row in pod.rows() if row.drawdown]
        app = pod.process.app
        with suppress(CheckoutRefused, LedgerUnavailable, Crash):
            match random.choice(
                ["take", "take", "confirm", "confirm", "take again", "return", "draw", "draw", "draw again"]
            ):
                case "confirm" if known:
                    await app.confirm(random.choice(known).id)
                case "take again" if known:
                    row = random.choice(known)
                    await app.check_out(CheckoutRequest(row.id, row.entitlement, row.count or 1))
                case "return" if known:
                    await app.give_back(random.choice(known).id)
                case "draw":
                    await app.check_out(self._request("reports", random, drawdown=True))
                case "draw again" if drawn:
                    row = random.choice(drawn)
                    await app.check_out(CheckoutRequest(row.id, row.entitlement, row.count or 1, drawdown=True))
                case _:
                    await app.check_out(self._request("users", random))

    def _request(self, entitlement: str, random: Random, *, drawdown: bool = False) -> CheckoutRequest:
        self._ids += 1
        return CheckoutRequest(f"id-{self._ids}", entitlement, random.randint(1, 3), drawdown=drawdown)

    async def _add_pod(self) -> None:
        self._made += 1
        pod = SeatPod(
            f"pod-{self._made}",
            self._folder / f"pod-{self._made}.db",
            world=self._world,
            service=self._service,
            policy=self._plan.policy,
            fail=self.audit.fail,
            disturb=self.audit.disturb,
        )
        self._pods.append(pod)
        await self._start(pod)

    async def _start(self, pod: SeatPod) -> None:
        self.figures.processes += 1
        await pod.start()

    async def _remove(self, pod: SeatPod, *, ending: bool) -> None:
        if pod not in self._pods:
            return
        self._pods.remove(pod)
        if ending:
            await pod.stop(ending=True)
        await pod.bury()

    def _kill(self, pod: SeatPod) -> None:
        if pod.process is not None and not pod.process.dead:
            pod.process.disk.die()

    async def _crash(self, pod: SeatPod) -> None:
        self._kill(pod)
        await pod.bury()

    async def _pass_time(self, duration: timedelta) -> None:
        """Let time pass; the supervisor starts again what has died, and the audit looks at the books."""
        end = self._loop.time() + duration.total_seconds()
        while (left := end - self._loop.time()) > 0:
            before = self._world.now()
            await asyncio.sleep(min(left, STEP.total_seconds()))
            self.figures.pod_hours += (self._world.now() - before) / timedelta(hours=1) * len(self._pods)
            await self._supervise()
            self.audit.judge(self._pods)

    async def _supervise(self) -> None:
        for pod in list(self._pods):
            if pod.process is not None and pod.process.dead:
                await pod.bury()
            if pod.process is None and pod in self._pods:
                await self._start(pod)

    def _change_weather(self, weather: dict[SeatFault, float]) -> None:
        self._storm += 1
        self._service.weather = weather
        self.audit.note(f"weather: {weather}")

    def _clear_after(self, seconds: float) -> None:
        storm = self._storm
        self._loop.call_later(seconds, self._clear, storm)

    def _clear(self, storm: int) -> None:
        if storm == self._storm:
            self._service.weather = {}
            self._account.down = set()

    def _step(self, pod: SeatPod, random: Random) -> None:
        pod.stepped = True
        size = random.choice([timedelta(seconds=30), timedelta(minutes=4), timedelta(hours=1), timedelta(hours=10)])
        pod.clock.skew = size * random.uniform(-1, 1)
        self.audit.note(f"{pod.name}: the clock is off by {pod.clock.skew}")
        self._judge_anew()

    def _judge_anew(self) -> None:
        for pod in self._pods:
            pod.clock.judge_anew()
            if pod.process is not None:
                pod.process.wake()

    def _draw_license(self, pods: int) -> License:
        counts = {each.name: each.hold * pods for each in self._plan.policy.seats}
        held = [LicenseEntitlement(name, "Count", count) for name, count in counts.items()]
        seats = [replace(each, allow_check_in=not self._plan.fixed) for each in (*held, _USERS)]
        return replace(GOOD, begin=None, end=None, entitlements=(*seats, _REPORTS, FEATURE))

    def _change_license(self, license_: License) -> None:
        self.audit.license_changed()
        self._account.grant(license_)

    def _mend_license(self) -> None:
        self._change_license(self._license)

    async def _resolve_doubts(self) -> None:
        for pod in self._pods:
            await pod.resolve_doubts()

    async def _recover(self) -> None:
        """Let everything heal, settle the doubts, judge, and let every pod vanish."""
        self.audit.note("RECOVERY")
        self._storm += 1
        self._service.when_taken = None
        self._account.refused.clear()
        self._clear(self._storm)
        self._mend_license()
        for pod in self._pods:
            pod.clock.skew = timedelta()
            if pod.process is not None:
                pod.process.disk.heal()
        self._judge_anew()
        await self._pass_time(RECOVERY)
        await self._resolve_doubts()
        await self._pass_time(timedelta(minutes=30))
        self.audit.judge_end(self._pods)
        for pod in list(self._pods):
            await self._crash(pod)
            await self._remove(pod, ending=False)
        last_gone_at: datetime = self._world.now()
        await asyncio.sleep(timedelta(minutes=60).total_seconds())
        self.audit.judge_empty(last_gone_at)
