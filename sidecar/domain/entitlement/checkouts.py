"""The checkout of an entitlement, from its intent to its end: a pure state machine.

The request is frozen with its client token before the first attempt, and each attempt counts as unanswered before it is
sent. So a process that is killed in between finds a checkout that AWS may hold, and repeats the same request: it never
takes a seat twice. Each transition takes the instant at which it happened; nothing here calls, waits or stores.
"""

import hashlib
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, Self

TIME_TO_LIVE: Final = timedelta(minutes=60)
"""How long AWS holds a seat after a checkout or an extension, where no answer has given it."""
IN_USE_FOR: Final = timedelta(hours=1)
"""How long the app's word that it uses a seat counts."""
MARGIN: Final = timedelta(minutes=5)
"""How much longer than its time to live a seat may be held, because clocks differ."""


class CheckoutState(StrEnum):
    """Where a checkout is."""

    INTENDED = "intended"  # no answer yet; the same request is repeated
    HELD = "held"  # AWS holds it for this pod
    RETURNED = "returned"  # given back
    LAPSED = "lapsed"  # its time to live has passed
    REFUSED = "refused"  # AWS answered that there is none left, or no license
    IN_DOUBT = "in-doubt"  # a draw-down that AWS may or may not hold; a person decides

    @property
    def live(self) -> bool:
        """Something may still be held."""
        return self in {CheckoutState.INTENDED, CheckoutState.HELD, CheckoutState.IN_DOUBT}


class CheckoutKind(StrEnum):
    """Why there is a checkout."""

    SEAT = "seat"  # held for the pod's life, by license.require
    APP = "app"  # asked for by the app
    PROBE = "probe"  # proves the right to run, and is returned immediately


class CheckoutStep(StrEnum):
    """The call that a checkout needs next."""

    CHECK_OUT = "check-out"
    EXTEND = "extend"
    CHECK_IN = "check-in"


@dataclass(frozen=True, slots=True)
class Grant:
    """AWS's answer to a checkout or an extension."""

    consumption_token: str = field(repr=False)
    time_to_live: timedelta | None = None
    """None where the answer does not give it."""
    arn: str | None = None
    in_part: bool = False
    """AWS allows fewer than were asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkout:
    """One checkout and everything that its repetition needs."""

    id: str
    """The app's id; the name of the entitlement for a seat and a probe."""
    kind: CheckoutKind
    sku: str
    issuer: str
    """The fingerprint of the license's issuer."""
    entitlement: str
    unit: str
    count: int | None
    """None for an entitlement without a count."""
    drawdown: bool = False
    """It is used up and never returns."""
    client_token: str
    region: str
    state: CheckoutState = CheckoutState.INTENDED
    intended_at: datetime
    first_attempt_at: datetime | None = None
    attempted_at: datetime | None = None
    """The last checkout or extension that AWS may have processed; for a draw-down, the last attempt."""
    unanswered: int = 0
    """Checkout attempts that AWS may have processed without an answer."""
    consumption_token: str | None = field(default=None, repr=False)
    arn: str | None = None
    time_to_live: timedelta = TIME_TO_LIVE
    """How long AWS holds a seat, by its last answer."""
    expires_at: datetime | None = None
    """Until when the seat is certainly held: by this machine's clock, which may differ from AWS's.

    None for a part of the seats: what was asked for is not held.
    """
    confirmed_at: datetime | None = None
    """When the app last used it, by its own word."""
    returning: bool = False
    """It is not wanted any more; no extension follows."""
    settled_at: datetime | None = None
    seq: int = 0
    """The ledger's row; 0 before it is stored."""

    def attempting(self, region: str, now: datetime) -> Self:
        """A checkout request is about to be sent; until its answer it counts as one that AWS may hold."""
        return replace(
            self,
            region=region,
            first_attempt_at=self.first_attempt_at or now,
            attempted_at=now,
            unanswered=self.unanswered + 1,
        )

    def not_taken(self, earlier: datetime | None) -> Self:
        """AWS certainly did not process the last attempt; `earlier` is the attempt before it."""
        unanswered = max(self.unanswered - 1, 0)
        return replace(
            self,
            unanswered=unanswered,
            first_attempt_at=self.first_attempt_at if unanswered else None,
            # That of a draw-down shows whether the clock went back.
            attempted_at=self.attempted_at if self.drawdown else earlier,
        )

    def granted(self, grant: Grant, now: datetime) -> Self:
        """AWS holds it, by its answer to a checkout or an extension."""
        time_to_live = grant.time_to_live or self.time_to_live
        # After a lost answer the seat may be as old as the first attempt; an early extension shows whether it still is.
        asked_at = (self.first_attempt_at if self.unanswered > 1 else self.attempted_at) or now
        return replace(
            self,
            state=CheckoutState.HELD,
            unanswered=0,
            consumption_token=grant.consumption_token,
            arn=grant.arn or self.arn,
            time_to_live=time_to_live,
            expires_at=None if self.drawdown or self._is_part else asked_at + time_to_live,
        )

    def granted_in_part(self, grant: Grant, now: datetime) -> Self:
        """AWS holds fewer than were asked for: seats are to be returned, and a draw-down is in doubt."""
        if self.drawdown:
            return self.doubted(now)
        return replace(self.granted(grant, now).unwanted(), expires_at=None)

    def refused(self, now: datetime) -> Self:
        """AWS grants nothing, or not enough. A draw-down that an earlier attempt may have made is in doubt."""
        if self.drawdown and self.unanswered > 1:
            return self.doubted(now)
        return replace(self, state=CheckoutState.REFUSED, consumption_token=None, unanswered=0, settled_at=now)

    def calling(self, step: CheckoutStep, now: datetime) -> Self:
        """An extension or a return is about to be sent. A return prolongs nothing."""
        return replace(self, attempted_at=now) if step is CheckoutStep.EXTEND else self

    def not_extended(self, earlier: datetime | None) -> Self:
        """AWS certainly did not process the last extension; `earlier` is the attempt before it."""
        return replace(self, attempted_at=earlier)

    def confirmed(self, now: datetime) -> Self:
        """The app uses it."""
        return replace(self, confirmed_at=now)

    def unwanted(self) -> Self:
        """It is to be returned."""
        return replace(self, returning=True, confirmed_at=None)

    def kept(self) -> Self:
        """AWS has extended the seat, so it is held again; a part of the seats stays unwanted."""
        return replace(self, returning=self.returning and not self.is_whole_return)

    def returned(self, now: datetime) -> Self:
        """AWS has it back."""
        return replace(self, state=CheckoutState.RETURNED, consumption_token=None, settled_at=now)

    def lapsed(self, now: datetime) -> Self:
        """Its time is over, or AWS does not know it any more."""
        return replace(self, state=CheckoutState.LAPSED, consumption_token=None, unanswered=0, settled_at=now)

    def doubted(self, now: datetime) -> Self:
        """AWS may hold the draw-down, and only a person can find out."""
        return replace(self, state=CheckoutState.IN_DOUBT, settled_at=now)

    def resolved(self, *, drawn: bool, now: datetime) -> Self:
        """A person has found out whether AWS holds the draw-down."""
        state = CheckoutState.HELD if drawn else CheckoutState.REFUSED
        return replace(self, state=state, unanswered=0, settled_at=None if drawn else now)

    def left(self) -> Self:
        """The app uses it no more, and the license takes no seat back: it is extended only if the app resumes it.

        A return that was attempted stays noted: AWS may have taken it.
        """
        return replace(self, confirmed_at=None)

    def settled_by(self, now: datetime) -> Self:
        """Return what time alone has made of it."""
        match self.state:
            case CheckoutState.INTENDED if self.unanswered and self.drawdown:
                return self if self._may_repeat_drawdown(now) else self.doubted(now)
            case CheckoutState.INTENDED if not self.wanted(now):
                # The case before has every draw-down that AWS may have processed. A repetition after the seat's time
                # could take another one, which is not wanted.
                until = self.may_be_held_until()
                return self.lapsed(now) if until is None or now >= until + MARGIN else self
            case _:
                return self

    def _may_repeat_drawdown(self, now: datetime) -> bool:
        """Return whether AWS certainly still knows the client token; later the same request could draw again."""
        first, last = self.first_attempt_at or now, self.attempted_at or now
        # From the first attempt. A clock that went back shows how much time has passed no more.
        return last - MARGIN <= now < first + TIME_TO_LIVE - MARGIN

    def wanted(self, now: datetime) -> bool:
        """Return whether it is still asked for: the pod's own until it ends, the app's while the app confirms it."""
        if self.returning:
            return False
        match self.kind:
            case CheckoutKind.SEAT:
                return True
            case CheckoutKind.PROBE:
                return self.state is CheckoutState.INTENDED
            case CheckoutKind.APP:
                return self.confirmed_at is not None and now < self.confirmed_at + IN_USE_FOR

    def is_left(self, now: datetime) -> bool:
        """Return whether the app has stopped using a held seat, and its time has passed, by this machine's clock."""
        if self.state is not CheckoutState.HELD or self.drawdown or self.returning or self.wanted(now):
            return False
        return self.expires_at is None or now >= self.expires_at

    @property
    def may_end(self) -> bool:
        """Return whether something may still be done to end it; False for a draw-down that counts, or is in doubt."""
        return self.state is CheckoutState.INTENDED or (self.state is CheckoutState.HELD and not self.drawdown)

    @property
    def being_returned(self) -> bool:
        """AWS may still hold the seat, and the pod does not count on it; False for a draw-down, which never returns."""
        return self.state is CheckoutState.HELD and self.returning and not self.drawdown

    @property
    def is_whole_return(self) -> bool:
        """Return whether all the seats that were asked for are being returned, not the part that AWS has allowed."""
        return self.being_returned and not self._is_part

    @property
    def _is_part(self) -> bool:
        return self.state is CheckoutState.HELD and self.expires_at is None and not self.drawdown

    def is_over(self, now: datetime) -> bool:
        """Return whether AWS holds the seat no more, by this machine's clock; False for a draw-down.

        The clock may be wrong, so only together with an answer of AWS is a held seat lapsed.
        """
        until = None if self.drawdown else self.may_be_held_until()
        return until is not None and now >= until + MARGIN

    def may_be_held_until(self) -> datetime | None:
        """Return the last instant at which AWS may hold the seat if no call follows; None if it holds none."""
        asked = None if self.attempted_at is None else self.attempted_at + self.time_to_live
        match self.state:
            case CheckoutState.HELD if not self.drawdown:
                return max((each for each in (self.expires_at, asked) if each is not None), default=None)
            case CheckoutState.INTENDED if self.unanswered:
                return asked
            case _:
                return None


def next_step(checkout: Checkout, now: datetime) -> tuple[CheckoutStep, datetime] | None:
    """Return the call that a checkout needs next and when; None if it needs none."""
    match checkout.state:
        case CheckoutState.INTENDED:
            return CheckoutStep.CHECK_OUT, min(checkout.intended_at, now)  # the clock may have gone back
        case CheckoutState.HELD if checkout.drawdown or checkout.consumption_token is None:
            return None
        case CheckoutState.HELD if checkout.returning or checkout.kind is CheckoutKind.PROBE:
            return CheckoutStep.CHECK_IN, now
        case CheckoutState.HELD if checkout.wanted(now):
            return CheckoutStep.EXTEND, _extension_due_at(checkout, now)
        case CheckoutState.HELD:
            # Not sooner: until then the app's late word keeps it. The clock may be wrong, so AWS is asked.
            return CheckoutStep.CHECK_IN, checkout.expires_at or now
        case _:
            return None


def _extension_due_at(checkout: Checkout, now: datetime) -> datetime:
    attempted_at, expires_at = checkout.attempted_at, checkout.expires_at
    if expires_at is None:
        return now
    if attempted_at is not None and (now < attempted_at or attempted_at + checkout.time_to_live < expires_at):
        return now  # the clock went back, so the seat may end before it shows that
    return expires_at - checkout.time_to_live / 2


def drawdown_token(sku: str, entitlement: str, id_: str, count: int) -> str:
    """Return the client token of a draw-down: the same for the same one, so AWS draws once while it remembers it."""
    parts = (sku, entitlement, id_, str(count))
    return hashlib.sha256("".join(f"{len(part)}:{part}" for part in parts).encode("utf-8", "surrogatepass")).hexdigest()
