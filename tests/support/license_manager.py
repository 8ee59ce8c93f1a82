"""License Manager in memory: Regions, licenses, seats with their time, draw-downs, and faults on demand."""

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from sidecar.domain.entitlement.licenses import License as DomainLicense
from sidecar.marketplace.errors import MarketplaceError, NoAnswer, NotSent
from sidecar.marketplace.license_manager import (
    CheckInLicenseRequest,
    CheckInLicenseResponse,
    CheckoutLicenseRequest,
    CheckoutLicenseResponse,
    CheckoutType,
    DatetimeRange,
    Entitlement,
    ExtendLicenseConsumptionRequest,
    ExtendLicenseConsumptionResponse,
    GetLicenseRequest,
    GetLicenseResponse,
    GetLicenseUsageRequest,
    GetLicenseUsageResponse,
    GrantedLicense,
    InvalidParameterValueException,
    IssuerDetails,
    LicenseManager,
    ListReceivedLicensesRequest,
    ListReceivedLicensesResponse,
    NoEntitlementsAllowedException,
    ReceivedMetadata,
    RedirectException,
    ResourceNotFoundException,
)

HOME = "us-east-1"
TIME_TO_LIVE = timedelta(minutes=60)


class Trouble(StrEnum):
    """What happens to one call."""

    LOST = "lost"  # processed, and the answer is lost
    DROPPED = "dropped"  # not processed, and the caller cannot know
    UNSENT = "unsent"  # certainly not processed


@dataclass
class Seat:
    """What one consumption token stands for."""

    request: CheckoutLicenseRequest
    arn: str
    issued_at: datetime
    expires_at: datetime | None

    @property
    def count(self) -> int:
        """How many of the entitlement it holds."""
        return int(self.request.entitlements[0].value or 0)


@dataclass
class World:
    """License Manager of one account. `now` is AWS's own time."""

    now: Callable[[], datetime]
    licenses: dict[str, dict[str, DomainLicense]] = field(default_factory=lambda: {HOME: {}})
    """By Region and arn."""
    seats: dict[str, Seat] = field(default_factory=dict)
    """By consumption token."""
    tokens: dict[str, tuple[CheckoutLicenseRequest, str, datetime]] = field(default_factory=dict)
    """The request, the consumption token and the time of each client token; AWS may forget it after an hour."""
    takings: Counter[str] = field(default_factory=Counter)
    """How often each client token has taken something."""
    troubles: deque[Trouble | MarketplaceError | None] = field(default_factory=deque)
    """What happens to the next calls, one each; None is nothing."""
    down: set[str] = field(default_factory=set)
    """Regions that cannot be reached."""
    refused: dict[str, MarketplaceError] = field(default_factory=dict)
    """What is answered to every call of an operation; nothing is processed."""
    redirects: dict[str, str] = field(default_factory=dict)
    new_tokens: bool = False
    """An extension returns another token, and the old one is not known any more."""
    most_allowed: int | None = None
    """The largest value that an answer to a checkout allows, whatever was asked for."""
    calls: list[tuple[str, str]] = field(default_factory=list)
    """Region and operation."""
    checkouts: list[CheckoutLicenseRequest] = field(default_factory=list)

    def grant(self, license_: DomainLicense, region: str = HOME) -> None:
        """Put a license into a Region, or in place of the one with its arn."""
        self.licenses.setdefault(region, {})[license_.arn] = license_

    def change(self, arn: str, **members: object) -> None:
        """Change a license wherever it is."""
        for found in self.licenses.values():
            if arn in found:
                found[arn] = replace(found[arn], **members)  # type: ignore[arg-type]

    def remove(self, arn: str) -> None:
        """Delete a license without a trace."""
        for found in self.licenses.values():
            found.pop(arn, None)

    def held(self, entitlement: str) -> int:
        """Return how many of an entitlement are held or drawn now."""
        now = self.now()
        return sum(
            seat.count
            for seat in self.seats.values()
            if seat.request.entitlements[0].name == entitlement and (seat.expires_at is None or now < seat.expires_at)
        )

    async def connect(self, region: str) -> LicenseManager:
        """Return License Manager of a Region."""
        return _Region(self, region)


class _Region:
    def __init__(self, world: World, region: str) -> None:
        self._world = world
        self._region = region

    def _begin(self, operation: str) -> Trouble | None:
        world = self._world
        world.calls.append((self._region, operation))
        if self._region in world.down:
            raise NotSent(f"{self._region} cannot be reached")
        trouble = world.troubles.popleft() if world.troubles else None
        if isinstance(trouble, MarketplaceError):
            raise trouble
        if operation in world.refused:
            raise world.refused[operation]
        if trouble is Trouble.UNSENT:
            raise NotSent("no route")
        if trouble is Trouble.DROPPED:
            raise NoAnswer("timed out")
        if self._region in world.redirects:
            error = RedirectException("another Region")
            error.location = world.redirects[self._region]
            raise error
        return trouble

    def _end(self, trouble: Trouble | None) -> None:
        if trouble is Trouble.LOST:
            raise NoAnswer("connection closed")

    async def list_received_licenses(self, request: ListReceivedLicensesRequest) -> ListReceivedLicensesResponse:
        """Return the licenses of the product."""
        trouble = self._begin("ListReceivedLicenses")
        sku = request.filters[0].values[0] if request.filters else None
        found = self._world.licenses.get(self._region, {}).values()
        self._end(trouble)
        return ListReceivedLicensesResponse(licenses=tuple(_listed(each) for each in found if sku in {None, each.sku}))

    async def checkout_license(self, request: CheckoutLicenseRequest) -> CheckoutLicenseResponse:
        """Take entitlements, or return the earlier answer to the same token."""
        self._world.checkouts.append(request)
        trouble = self._begin("CheckoutLicense")
        world, now = self._world, self._world.now()
        known = world.tokens.get(request.client_token)
        if known is not None and now < known[2] + TIME_TO_LIVE:
            if known[0] != request:
                raise InvalidParameterValueException("the client token belongs to another checkout")
            seat = world.seats.get(known[1]) or Seat(request, "", now, now)
            self._end(trouble)
            return self._answer(known[1], seat)
        seat = Seat(request, self._find(request), now, None)
        if request.checkout_type is CheckoutType.PROVISIONAL:
            seat.expires_at = now + TIME_TO_LIVE
        world.takings[request.client_token] += 1
        token = f"consumption-{len(world.seats)}-{world.takings.total()}"
        world.seats[token] = seat
        world.tokens[request.client_token] = (request, token, now)
        self._end(trouble)
        return self._answer(token, seat)

    def _find(self, request: CheckoutLicenseRequest) -> str:
        """Return the license that grants the request."""
        asked = request.entitlements[0]
        for each in self._world.licenses.get(self._region, {}).values():
            granted = each.entitlement(asked.name)
            if (each.sku, each.status, each.received) != (
                request.product_sku,
                "AVAILABLE",
                "ACTIVE",
            ) or granted is None:
                continue
            if granted.unit != asked.unit or granted.counted != (asked.value is not None):
                continue
            if granted.overage or not granted.counted:
                return each.arn
            if self._world.held(asked.name) + int(asked.value or 0) <= (granted.max_count or 0):
                return each.arn
        raise NoEntitlementsAllowedException("no entitlements allowed")

    def _answer(self, token: str, seat: Seat) -> CheckoutLicenseResponse:
        most = self._world.most_allowed
        return CheckoutLicenseResponse(
            license_consumption_token=token,
            entitlements_allowed=tuple(
                each if most is None or each.value is None else replace(each, value=str(min(int(each.value), most)))
                for each in seat.request.entitlements
            ),
            issued_at=seat.issued_at,
            expiration=seat.expires_at,
            license_arn=seat.arn,
        )

    def _seat(self, token: str) -> Seat:
        seat = self._world.seats.get(token)
        if seat is None or (seat.expires_at is not None and seat.expires_at <= self._world.now()):
            raise ResourceNotFoundException("unknown token")
        return seat

    async def extend_license_consumption(
        self, request: ExtendLicenseConsumptionRequest
    ) -> ExtendLicenseConsumptionResponse:
        """Add an hour to a seat whose license is still good."""
        trouble = self._begin("ExtendLicenseConsumption")
        world, token = self._world, request.license_consumption_token
        seat = self._seat(token)
        licenses = (found.get(seat.arn) for found in world.licenses.values())
        if not any(each is not None and each.status == "AVAILABLE" for each in licenses):
            raise ResourceNotFoundException("unknown license")
        seat.expires_at = world.now() + TIME_TO_LIVE
        if world.new_tokens:
            del world.seats[token]
            token += "+"
            world.seats[token] = seat
        self._end(trouble)
        return ExtendLicenseConsumptionResponse(license_consumption_token=token, expiration=seat.expires_at)

    async def check_in_license(self, request: CheckInLicenseRequest) -> CheckInLicenseResponse:
        """Return a seat."""
        trouble = self._begin("CheckInLicense")
        seat = self._seat(request.license_consumption_token)
        names = {asked.name for asked in seat.request.entitlements}
        licenses = [found[seat.arn] for found in self._world.licenses.values() if seat.arn in found]
        if any(each.name in names and not each.allow_check_in for found in licenses for each in found.entitlements):
            raise InvalidParameterValueException("the checkout does not allow a check-in")
        del self._world.seats[request.license_consumption_token]
        self._end(trouble)
        return CheckInLicenseResponse()

    async def get_license(self, request: GetLicenseRequest) -> GetLicenseResponse:
        """Is not called."""
        raise NotImplementedError

    async def get_license_usage(self, request: GetLicenseUsageRequest) -> GetLicenseUsageResponse:
        """Is not called."""
        raise NotImplementedError


def _listed(license_: DomainLicense) -> GrantedLicense:
    return GrantedLicense(
        license_arn=license_.arn,
        product_sku=license_.sku,
        issuer=IssuerDetails(key_fingerprint=license_.issuer),
        home_region=license_.home_region,
        status=license_.status,
        validity=None if license_.begin is None else DatetimeRange(begin=license_.begin, end=license_.end),
        entitlements=tuple(
            Entitlement(
                name=each.name,
                unit=each.unit,
                max_count=each.max_count,
                overage=each.overage,
                allow_check_in=each.allow_check_in,
            )
            for each in license_.entitlements
        ),
        create_time=license_.created_at,
        received_metadata=ReceivedMetadata(received_status=license_.received, grant_type=license_.grant_type),
    )
