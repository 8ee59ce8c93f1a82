"""Compares the ledgers of all pods with AWS's side, and each gate with what a paying buyer may expect."""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final, NoReturn

from sidecar.domain.entitlement.checkouts import Checkout, CheckoutKind, CheckoutState
from sidecar.domain.entitlement.license_policy import LicensePolicy
from sidecar.domain.entitlement.licensing import ADMIT_FOR
from sidecar.domain.entitlement.states import Reason, State
from sidecar.domain.policy import OnTaken
from tests.simulation.clocks import World
from tests.simulation.seat_pod import SeatPod
from tests.simulation.seat_service import SeatService
from tests.simulation.witness import Breach
from tests.support.license_manager import Seat

SETTLED_AFTER: Final = timedelta(minutes=10)
"""How long a process may need after a start, or after AWS answers again, to know where it stands."""
_CLOSED: Final = {State.DENIED, State.SUSPENDED}
_UNDRAWN: Final = {CheckoutState.REFUSED, CheckoutState.LAPSED, CheckoutState.RETURNED}


class SeatAudit:
    """The judge of one world.

    Args:
        policy: What the seller requires.
        world: True time.
        service: AWS's books.
    """

    def __init__(self, policy: LicensePolicy, world: World, service: SeatService) -> None:
        self._holds = {each.name: each.hold for each in policy.seats}
        self._waits = policy.on_taken is OnTaken.WAIT
        self._world = world
        self._service = service
        self._license_changed = False
        # The token that an extension returned is lost with its answer. The pod takes a new seat then, and AWS holds the
        # old one until its time is over.
        self._loses_tokens = service.account.new_tokens
        self._ill_until = world.now()
        """When AWS last gave no answer, or a disk failed."""
        self._counts: dict[str, tuple[str, str, int]] = {}
        """Ledger, id and count of each client token that a ledger has shown."""
        self._draws: set[str] = set()
        """The client tokens of draw-downs."""
        self.breach: str | None = None
        self.trace: list[str] = []

    def note(self, words: str) -> None:
        """Write a line of the trace."""
        self.trace.append(f"{self._world.now():%d %H:%M:%S} {words}")

    def fail(self, words: str) -> NoReturn:
        """End the world with a breach."""
        self.note(f"BREACH {words}")
        self.breach = self.breach or words
        raise Breach(words)

    def disturb(self) -> None:
        """A disk has failed, or the machines have slept."""
        self._ill_until = self._world.now()

    def license_changed(self) -> None:
        """From now on an explicit answer may close a gate."""
        self._license_changed = True

    def judge(self, pods: Iterable[SeatPod]) -> None:
        """Judge one moment."""
        if self._service.weather or self._service.account.down:
            self._ill_until = self._world.now()
        held = self._held()
        self._judge_requests(held)
        for pod in pods:
            rows = pod.rows()
            self.note(f"{pod.name}: {_shown(pod)}; {' '.join(f'{row.id}:{row.state}' for row in rows)}")
            self._judge_books(pod, rows, held)
            self._judge_gate(pod)

    def judge_end(self, pods: Iterable[SeatPod]) -> None:
        """Judge a world that has recovered: every gate is right, and the books agree in both directions."""
        known: set[str] = set()
        for pod in pods:
            entitlement = None if pod.process is None else pod.process.entitlement()
            if entitlement is None or entitlement.state in _CLOSED | {State.UNAVAILABLE}:
                self.fail(f"{pod.name} has not recovered: {entitlement}")
            # A person's decision about a draw-down leaves it without a token; `_judge_books` judges draw-downs.
            held = [row for row in pod.rows() if row.state is CheckoutState.HELD and not row.drawdown]
            rows = {row.consumption_token: row for row in held}
            seated = {row.entitlement for row in rows.values() if row.kind is CheckoutKind.SEAT}
            if seated == set(self._holds) and entitlement.state is not State.ENTITLED:
                self.fail(f"{pod.name} has its seats and is {entitlement.state}")
            for token, row in rows.items():
                known.add(row.client_token)
                seat = self._service.account.seats.get(token or "")
                if seat is None or not self._is_held(seat):
                    self.fail(f"{pod.name} believes to hold {row.id}, and AWS holds nothing")
        for seat in self._service.account.seats.values():
            if self._is_held(seat) and seat.expires_at is not None and seat.request.client_token not in known:
                self.fail(f"AWS holds a seat that no ledger knows: {seat}")

    def judge_empty(self, since: datetime) -> None:
        """Judge the hour after the last pod is gone."""
        seats = [seat for seat in self._service.account.seats.values() if seat.expires_at and self._is_held(seat)]
        if seats:
            self.fail(f"held though the last pod is gone since {since}: {seats}")

    def _judge_requests(self, held: dict[str, Seat]) -> None:
        """No ledger holds more than it asked for, and nothing is drawn twice."""
        drawn = [token for token in self._draws if self._service.account.takings[token] > 1]
        if drawn:
            self.fail(f"AWS has drawn down twice: {drawn}")
        counts: Counter[tuple[str, str]] = Counter()
        for token, seat in held.items() if not self._loses_tokens else ():
            counts[self._service.ledgers[token], seat.request.entitlements[0].name] += seat.count
        for (ledger, name), count in counts.items():
            if name in self._holds and count > self._holds[name]:
                self.fail(f"AWS holds {count} of {name} for {ledger}, which asks for {self._holds[name]}")

    def _judge_books(self, pod: SeatPod, rows: Iterable[Checkout], held: dict[str, Seat]) -> None:
        # The same draw-down has one client token, also once it was given up and is asked for again.
        newest = {row.client_token: row.seq for row in sorted(rows, key=lambda row: row.seq)}
        for row in rows:
            if row.drawdown:
                self._draws.add(row.client_token)
            self._counts[row.client_token] = (pod.name, row.id, row.count or 0)
            drawn = self._service.account.takings[row.client_token]
            wrong = (row.state in _UNDRAWN and drawn) or (row.state is CheckoutState.HELD and not drawn)
            if row.drawdown and row.seq == newest[row.client_token] and wrong:
                self.fail(f"{pod.name}: the draw-down {row.id} is {row.state}, and AWS has drawn it {drawn} times")
            ended = row.state in {CheckoutState.RETURNED, CheckoutState.REFUSED}
            if not row.drawdown and ended and row.client_token in held and not self._loses_tokens:
                self.fail(f"{pod.name}: {row.kind} {row.id} is {row.state}, and AWS holds it")
        of_id: dict[tuple[str, str], int] = {}
        for token, seat in held.items() if not self._loses_tokens else ():
            if token in self._counts and seat.expires_at is not None:
                ledger, id_, count = self._counts[token]
                of_id[ledger, id_] = of_id.get((ledger, id_), 0) + seat.count
                if of_id[ledger, id_] > count:
                    self.fail(f"AWS holds {of_id[ledger, id_]} for {id_} of {ledger}, which asks for {count}")

    def _judge_gate(self, pod: SeatPod) -> None:
        """A paying buyer is not locked out, and is let in once AWS answers."""
        if pod.process is None or pod.process.dead or pod.stepped:
            return
        entitlement, now = pod.process.entitlement(), self._world.now()
        if self._license_changed:
            return
        if entitlement.state in _CLOSED:
            self.fail(f"{pod.name} is {entitlement.state} though the license is good: {entitlement.detail}")
        taken = entitlement.state is State.PENDING and entitlement.reason == Reason.SEATS_TAKEN
        if taken and not self._waits and now < pod.born_at + ADMIT_FOR:
            self.fail(f"{pod.name} waits for a seat since it is {now - pod.born_at} old")
        well = now > max(self._ill_until, pod.started_at) + SETTLED_AFTER
        if well and not entitlement.entitled and not taken:
            self.fail(f"{pod.name} is {entitlement.state} though AWS answers: {entitlement.detail}")

    def _held(self) -> dict[str, Seat]:
        """Return what AWS holds now of the licenses that there are, by client token.

        The seat of a license that was renewed cannot be extended, and takes nothing of the new one.
        """
        seats = self._service.account.seats.values()
        arns = {arn for licenses in self._service.account.licenses.values() for arn in licenses}
        return {seat.request.client_token: seat for seat in seats if self._is_held(seat) and seat.arn in arns}

    def _is_held(self, seat: Seat) -> bool:
        return seat.expires_at is None or self._world.now() < seat.expires_at


def _shown(pod: SeatPod) -> str:
    if pod.process is None or pod.process.dead:
        return "dead"
    entitlement = pod.process.entitlement()
    return f"{entitlement.state} {entitlement.reason}"
