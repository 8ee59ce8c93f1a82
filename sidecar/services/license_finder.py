"""Finds the licenses of a product, in each Region that may have one.

License Manager answers for one Region, and AWS Marketplace keeps licenses in us-east-1. So only the pod's Region and
us-east-1 together prove that there is no license; a good one in either decides alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol, Self

from sidecar.domain.entitlement.license_policy import LicensePolicy
from sidecar.domain.entitlement.licenses import License, Survey, survey
from sidecar.domain.ports import Clock
from sidecar.marketplace.errors import MarketplaceError
from sidecar.marketplace.license_manager import RedirectException
from sidecar.settings import Mode, Settings
from sidecar.settings.values import AUTO

HOME_REGION: Final = "us-east-1"
"""Where AWS Marketplace keeps licenses."""
_MOST_REDIRECTS = 3


class LicenseLister(Protocol):
    """The call that a look makes."""

    async def list_licenses(self, region: str, sku: str) -> list[License]:
        """Return every license of a product that the account has received; raises MarketplaceError."""


@dataclass(frozen=True, slots=True)
class LicenseAnswer:
    """What License Manager has answered."""

    survey: Survey
    region: str
    """The Region that answered with the license that counts."""
    license: License | None = None
    """The one that gives the right; None if none does."""
    error: MarketplaceError | None = None
    """Why a Region has not answered, so that the look decides nothing. Never beside a license that gives the right."""


class LicenseFinder:
    """Looks for one pod.

    `region` is the pod's, or the one that the seller has fixed; `any_issuer` is as in
    `sidecar.domain.entitlement.licenses.survey`.
    """

    def __init__(
        self, *, lister: LicenseLister, sku: str, policy: LicensePolicy, region: str, clock: Clock, any_issuer: bool
    ) -> None:
        self._lister = lister
        self._sku = sku
        self._policy = policy
        self._region = region
        self._clock = clock
        self._any_issuer = any_issuer
        self._answered_first: str | None = None
        self._home_region: str | None = None
        self._empty: dict[str, datetime] = {}
        """When a Region last answered with no license at all."""

    @classmethod
    def configured(cls, settings: Settings, lister: LicenseLister, region: str, clock: Clock) -> Self:
        """Return the finder of a configuration; `region` is the pod's."""
        policy = settings.license
        return cls(
            lister=lister,
            sku=settings.product.id or "",
            policy=policy,
            region=region if policy.region == AUTO else policy.region,
            clock=clock,
            any_issuer=settings.marketplace.mode is Mode.EMULATOR,
        )

    def prefer(self, region: str) -> None:
        """Ask this Region first: it has answered before."""
        self._answered_first = region

    @property
    def regions(self) -> tuple[str, ...]:
        """The Regions to ask, the likeliest first."""
        first = [] if self._answered_first is None else [self._answered_first]
        return tuple(dict.fromkeys([*first, self._region, HOME_REGION]))

    @property
    def checkout_regions(self) -> tuple[str, ...]:
        """The Regions of a checkout, the likeliest first: where the license was found, and where it is at home."""
        first = self._answered_first or self._region
        return tuple(dict.fromkeys([first, self._home_region or first]))

    async def find(self, own: str | None = None) -> LicenseAnswer:
        """Ask until a Region has a good license, or every Region has answered; `own` is as in `Survey.right`."""
        found: dict[str, tuple[str, License]] = {}
        failure: MarketplaceError | None = None
        for region in self.regions:
            try:
                answered, licenses = await self._list(region)
            except MarketplaceError as error:
                # The Region that has shown the license must answer each look: one old answer would count as two.
                if region == self._answered_first or not self._is_empty(region):
                    failure = failure or error
                continue
            for license_ in licenses:
                # What another Region shows of a license may be older than what its home Region knows.
                if license_.arn not in found or answered == (license_.home_region or HOME_REGION):
                    found[license_.arn] = answered, license_
            if self._survey(found).right() is not None:
                break
        listed = self._survey(found)
        right = listed.right(own)
        if right is None:
            return LicenseAnswer(listed, self._answered_first or self._region, error=failure)
        self._answered_first, self._home_region = found[right.arn][0], right.home_region
        return LicenseAnswer(listed, self._answered_first, right)

    async def _list(self, region: str) -> tuple[str, Sequence[License]]:
        """Return the licenses of a Region, or of the one that AWS redirects to, and that Region."""
        asked = region
        for _ in range(_MOST_REDIRECTS):
            try:
                licenses = await self._lister.list_licenses(asked, self._sku)
            except RedirectException as error:
                if error.location is None or error.location == asked:
                    raise
                asked = error.location
                continue
            if licenses:
                self._empty.pop(region, None)
            else:
                self._empty[region] = self._clock.now()
            return asked, licenses
        raise RedirectException(f"AWS redirects from {region} without an end")

    def _is_empty(self, region: str) -> bool:
        """Return whether the Region answered with an empty list so recently that this still counts."""
        answered_at = self._empty.get(region)
        return answered_at is not None and answered_at <= self._clock.now() < answered_at + self._policy.refresh

    def _survey(self, found: dict[str, tuple[str, License]]) -> Survey:
        licenses = [license_ for _, license_ in found.values()]
        now = self._clock.now()
        return survey(licenses, self._sku, self._policy, now, any_issuer=self._any_issuer)
