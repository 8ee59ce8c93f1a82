"""A simulated world from its beginning to the day after everything has recovered.

Carries out a plan, action by action, with a supervisor that starts the process again whenever it has ended.
"""

import asyncio
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from random import Random

from sidecar.adapters.ledger.conservation import terms
from sidecar.adapters.ledger.file import open_for_reading
from sidecar.domain.entitlement.states import State
from sidecar.domain.metering.events import Receipt, UsageBatch
from sidecar.domain.policy import OnFailing
from sidecar.domain.status import Terms
from tests.simulation.app import App
from tests.simulation.clocks import PodClock, World
from tests.simulation.copies import Copy
from tests.simulation.counting import CountingApps
from tests.simulation.disk import DiskFault, Volume
from tests.simulation.figures import Figures, Outcome
from tests.simulation.marketplace import SILENT, Fault, PodClient, Service
from tests.simulation.plan import Action, Kind, Plan, change_rules
from tests.simulation.process import PodGate, Process
from tests.simulation.tally import Tally
from tests.simulation.witness import Breach, Witness
from tests.support.simulated_loop import SimulatedLoop, Stalled, uncollected

MOST_SKEW = timedelta(hours=36)
"""How wrong a pod's clock may be; beyond that ids and buckets may be pruned too early."""
LEAP = timedelta(hours=20)
"""A step of the clock after which distinct values may have been pruned."""
JUDGED_EVERY = 20
"""Commits between two questions whether metering fails."""
RECOVERY = timedelta(hours=9)
RECOVERY_OF_CLOCK = timedelta(hours=48)
_GONE = (
    Fault.UNREACHABLE,
    Fault.NEVER_LEFT,
    Fault.TIMEOUT,
    Fault.INTERNAL,
    Fault.INTERNAL_TAKEN,
    Fault.NO_CREDENTIALS,
    Fault.ACCESS_DENIED,
)


@uncollected()
def live(plan: Plan, path: Path) -> Outcome:
    """Carry out a plan on the ledger at `path`."""
    loop = SimulatedLoop(Random(plan.seed))
    life = Life(plan, path, loop)
    try:
        loop.run_until_complete(life.run())
    except (Breach, Stalled, ExceptionGroup) as error:
        if life.witness.breach is None:
            life.witness.breach = f"the simulation ended: {error!r}"
    finally:
        life.put_away()
        loop.close()
    breach = life.witness.breach
    if breach is None and loop.callback_errors:
        breach = f"a callback failed: {loop.callback_errors[0]!r}"
    return Outcome(breach, life.witness.trace, life.figures, life.terms)


class Life:
    """One world."""

    def __init__(self, plan: Plan, path: Path, loop: SimulatedLoop) -> None:
        self._plan = plan
        self._path = path
        self._loop = loop
        self._random = Random(plan.seed + 1)
        self._world = World(loop)
        self._clock = PodClock(self._world)
        self._rules = plan.rules
        self._volume = Volume()
        self._tally = Tally(plan.rules)
        self.witness = Witness(self._tally, plan.rules, self._clock)
        self._service = Service(self._world)
        self._app = App(
            rules=plan.rules,
            tally=self._tally,
            witness=self.witness,
            now=self._clock.now,
            take=self._take,
        )
        self._pods = 1
        self._counting = CountingApps(plan.rules, self._clock, shows_starts=plan.shows_starts)
        self._process: Process | None = None
        self._started_at = 0.0
        self._leapt = False
        self._storm = 0
        self._judged_at = 0
        self._copies = 0
        self._copy: Copy | None = None
        self.figures = Figures()
        self.terms: dict[str, Terms] = {}

    async def run(self) -> None:
        """Live the plan, recover, and settle accounts."""
        await self._start()
        for action in self._plan.actions:
            await self._pass_time(action.after)
            self.witness.note(f"ACTION {action.kind} {action.seed}")
            self.figures.faults[action.kind.value] += action.kind is not Kind.USE
            self._counting.serve()
            await self._perform(action, Random(action.seed))
        await self._recover()
        self._count()

    def put_away(self) -> None:
        """Let go of the files after a breach."""
        if self._copy is not None:
            self._copy.let_go()
        if self._process is not None:
            self._process.let_go()

    async def _perform(self, action: Action, random: Random) -> None:  # noqa: C901, PLR0912, PLR0915 - one case an action
        match action.kind:
            case Kind.USE:
                await self._app.use(random)
            case Kind.REST:
                await self._pass_time(random.random() * 12 * 3600)
            case Kind.WEATHER if action.hours:
                self._change_weather({action.fault: 1.0}, random)
                self._clear_after(action.hours * 3600)
            case Kind.WEATHER:
                worst = random.choice([0.1, 0.3, 0.9])
                struck = random.sample(list(Fault), random.randint(1, 3)) + random.sample(SILENT, random.randint(0, 1))
                self._change_weather({fault: worst / len(struck) for fault in struck}, random)
                self._clear_after(random.random() * random.choice([2, 2, 10]) * 3600)
            case Kind.OUTAGE:
                drawn = random.choice(_GONE), random.choice([1, 1, 8])
                fault, hours = drawn if not action.hours else (action.fault, action.hours)
                await self._go_without(fault, hours, random)
            case Kind.UNSUBSCRIBE:
                self._service.subscribe(entitled=False)
                self._loop.call_later(random.random() * 2 * 3600, self._resubscribe)
            case Kind.DISK:
                self._running().disk.arm(DiskFault.ERROR, random.randint(1, 60), random.choice([1, 1, 3, 20]))
            case Kind.CRASH:
                self._running().kill()
                await self._start_again(random.random() * 300)
            case Kind.CRASH_AT_STATEMENT:
                end = random.choice([DiskFault.CRASH_BEFORE, DiskFault.CRASH_AFTER])
                self._running().disk.arm(end, random.randint(1, 60), 1)
            case Kind.CRASH_WHEN_TAKEN:
                self._service.when_taken = self._lose_pod if random.random() < 0.5 else self._running().kill
            case Kind.RESTART:
                await self._stop()
                await self._start_again(random.random() * 30)
            case Kind.REPLACE:
                await self._stop()
                self._pods += 1
                await self._start_again(random.random() * random.choice([30, 3600]))
            case Kind.LOSE_POD:
                self._lose_pod()
                await self._start_again(random.random() * random.choice([30, 3600, 36000]))
            case Kind.STEP:
                self._step(random)
            case Kind.SUSPEND:
                self._world.suspend(timedelta(hours=random.random() * random.choice([1, 8])))
                self._clock.judge_anew()
            case Kind.FULL:
                self._running().disk.fill()
                self._loop.call_later(random.random() * random.choice([1, 12]) * 3600, self._relieve)
            case Kind.RECONFIGURE:
                await self._reconfigure(random)
            case Kind.STRANGER:
                self._service.stranger = random.choice([1, 2])
                self._loop.call_later(random.random() * random.choice([6, 30]) * 3600, self._dismiss_stranger)
            case Kind.COPY:
                await self._run_copy(random)

    async def _reconfigure(self, random: Random) -> None:
        """End the process somehow, and start the next one with other rules; perhaps as another pod."""
        if random.random() < 0.6:
            await self._stop()
        else:
            self._running().kill()
            await self._bury()
        self._pods += random.random() < 0.3
        self._rules = change_rules(self._rules, self._plan.rules, random)
        self.witness.note(f"configured anew: {self._rules}")
        await self._start_again(random.random() * random.choice([30, 3600]))

    async def _run_copy(self, random: Random) -> None:
        """Let a second pod run on a copy of the ledger for some hours; nothing but its own books must be exact."""
        self._copies += 1
        path = self._path.with_name(f"copy-{self._copies}.db")
        chance = Random(random.getrandbits(32))
        counting = self._counting.of(path.stem)
        copy = Copy(self._path, path, self.witness, self._service, self._clock, self._rules, chance, counting)
        self._copy = copy
        await copy.start()
        await self._pass_time(random.random() * 10 * 3600)
        await copy.end()
        self._copy = None
        self._judge()

    def _relieve(self) -> None:
        self._volume.pages = None
        self._running().disk.relieve()

    def _dismiss_stranger(self) -> None:
        self._service.stranger = None

    async def _go_without(self, fault: Fault, hours: float, random: Random) -> None:
        """Let the service fail every call for some hours, in which the app continues."""
        self._change_weather({fault: 1.0}, random)
        ends_at = self._loop.time() + hours * 3600
        while self._loop.time() < ends_at:
            await self._app.use(random)
            await self._pass_time(random.random() * hours / 10 * 3600)
        self._change_weather({}, random)

    def _lose_pod(self) -> None:
        self._running().kill()
        self._pods += 1

    def _change_weather(self, weather: dict[Fault, float], random: Random) -> None:
        self.witness.note(f"weather {weather}")
        self._service.weather, self._service.random = weather, random
        self._storm += 1

    def _clear_after(self, seconds: float) -> None:
        """End this weather after a while, unless it has changed by then."""
        self._loop.call_later(seconds, self._clear, self._storm)

    def _clear(self, storm: int) -> None:
        if storm == self._storm:
            self._change_weather({}, self._service.random)

    def _resubscribe(self) -> None:
        self._service.subscribe(entitled=True)

    def _step(self, random: Random) -> None:
        by = random.choice([timedelta(seconds=90), timedelta(minutes=45), timedelta(hours=5), timedelta(hours=30)])
        skew = self._clock.skew + by * random.uniform(-1, 1)
        if abs(skew) <= MOST_SKEW:
            if abs(skew - self._clock.skew) > LEAP:
                self._app.values_of += 1
            self._set_clock(skew)
            self._leapt = True

    def _set_clock(self, skew: timedelta) -> None:
        before = self._clock.now()
        self._clock.skew = skew
        self.witness.see_step(before)
        self._clock.judge_anew()
        self.witness.note(f"the clock is ahead by {skew}")

    async def _recover(self) -> None:
        """Let everything be well, and long enough for every record to find its place; then end in order."""
        self._change_weather({}, Random(0))
        self._service.subscribe(entitled=True)
        self._service.when_taken = None
        self._service.stranger = None
        self._relieve()
        self._set_clock(timedelta())
        self._running().disk.heal()
        self._running().resubscribe()
        await self._pass_time((RECOVERY_OF_CLOCK if self._leapt else RECOVERY).total_seconds())
        self._running().disk.heal()
        failing = self._running().fails()
        # Within a window of an hour nothing can be submitted after the hour has ended.
        submits = self._rules.report_zero or self._rules.on_failing is OnFailing.GATE
        if failing & set(self._rules.dimensions) and submits and self._rules.window >= timedelta(hours=3):
            self.witness.fail(f"metering is said to fail long after everything has recovered: {failing}")
        await self._stop()
        connection = open_for_reading(self._path)
        try:
            self.witness.audit(connection)
            self.terms = terms(connection)
            waiting = connection.execute("SELECT count(*) FROM record WHERE status = 'sealed'").fetchone()[0]
            late = connection.execute(
                "SELECT count(*) FROM bucket WHERE sealed = 0 AND hour <= ?", (self._world.now().timestamp(),)
            ).fetchone()[0]
        finally:
            connection.close()
        if waiting or late:
            self.witness.fail(f"{waiting} records and {late} buckets still wait after everything has recovered")

    async def _pass_time(self, seconds: float) -> None:
        """Let time pass; a process that ends meanwhile is started again."""
        until = self._loop.time() + seconds
        while (left := until - self._loop.time()) > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._running().ended.wait()
            if self._running().ended.is_set():
                await self._start_again(self._random.random() * 60)
            self._judge()
            self._judge_failing()

    def _judge_failing(self) -> None:
        """Ask what metering is said to be; the records' instants tell nothing once the clock was set."""
        if not self._leapt and self.witness.commits - self._judged_at >= JUDGED_EVERY:
            self._judged_at = self.witness.commits
            connection = open_for_reading(self._path)
            try:
                self.witness.judge_failing(connection, self._running().fails())
            finally:
                connection.close()

    def _judge(self) -> None:
        starved = None if self._process is None else self._process.disk.starved
        if starved is not None and self.witness.breach is None:
            self.witness.fail(f"no room on the full volume for {starved}")
        process = self._process
        if process is not None and process.is_admitted and not self._service.knows(process.pod):
            self.witness.fail(f"the gate of {process.pod} is open, and the service holds no record of it")
        if self.witness.breach is not None:
            raise Breach(self.witness.breach)

    def _running(self) -> Process:
        assert self._process is not None
        return self._process

    async def _start(self) -> None:
        pod = f"pod-{self._pods}"
        client = PodClient(self._service, pod, self.witness)
        denied = not self._service.state.entitled and self._random.random() < 0.5
        self._process = Process(
            path=self._path,
            pod=pod,
            rules=self._rules,
            clock=self._clock,
            client=client,
            witness=self.witness,
            gate=PodGate(State.DENIED if denied else State.ENTITLED, self._clock.now()),
            draw=self._random.random,
            longest_sleep=self._plan.longest_sleep,
            volume=self._volume,
            probing=self._plan.probing,
            counting=self._counting.of(pod),
        )
        self.witness.reconfigure(self._rules)
        self._app.rules = self._rules
        self.figures.processes += 1
        self._started_at = self._loop.time()
        await self._process.start()

    async def _start_again(self, after: float) -> None:
        """Bury what there was, and start anew until it runs."""
        await self._bury()
        await asyncio.sleep(after)
        await self._start()
        while self._running().ended.is_set():
            self._judge()
            await self._bury()
            await asyncio.sleep(10)
            await self._start()
        self.witness.note(f"started as {self._running().pod}")

    async def _bury(self) -> None:
        now = self._loop.time()
        self.figures.pod_hours += (now - self._started_at) / 3600
        self._started_at = now
        await self._running().bury()
        self._judge()

    async def _stop(self) -> None:
        """Let the process end in order, unless it ends otherwise before."""
        process = self._running()
        ending = asyncio.create_task(process.drain())
        died = asyncio.create_task(process.ended.wait())
        await asyncio.wait([ending, died], return_when=asyncio.FIRST_COMPLETED)
        for task in (ending, died):
            task.cancel()
        await asyncio.wait([ending, died])
        self._judge()
        if not ending.cancelled() and not process.disk.dead and (error := ending.exception()) is not None:
            self.witness.fail(f"draining ended with {error!r}")
        await self._bury()

    async def _take(self, batch: UsageBatch) -> Receipt | None:
        """Hand a batch to the process; None when there is none, or it gives no answer."""
        process = self._running()
        if process.ended.is_set():
            return None
        taking = asyncio.create_task(process.take(batch))
        died = asyncio.create_task(process.ended.wait())
        await asyncio.wait([taking, died], timeout=30, return_when=asyncio.FIRST_COMPLETED)
        for task in (taking, died):
            task.cancel()
        await asyncio.wait([taking, died])
        return None if taking.cancelled() else taking.result()

    def _count(self) -> None:
        self.figures.commits = self.witness.commits
        self.figures.faults += self._service.injected
        self.figures.faults += self._counting.figures
        self.figures.answers += self.witness.answers + self._app.answers
