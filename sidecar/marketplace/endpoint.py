"""Where calls go, and how long they may take.

Live calls go to AWS in the pod's Region and nowhere else. An emulator must be named by its URL; a missing one never
falls back to AWS.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from sidecar.marketplace.regions import named_region, region_from


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Metering or License Manager in one Region. Make it by `live` or `emulated`."""

    region: str
    emulator_url: str | None = None
    """None: the service at AWS."""
    connect_timeout: timedelta = timedelta(seconds=5)
    read_timeout: timedelta = timedelta(seconds=15)
    """How long AWS may be silent before the call counts as unanswered."""
    connections: int = 4
    """How many calls may run concurrently."""

    @classmethod
    def live(cls, environ: Mapping[str, str], region: str | None = None) -> "Endpoint":
        """Return AWS's own endpoint in `region`, by default in the Region that the environment names.

        Raises:
            UnsupportedRegion: There is no Region, or what is named is no Region.
        """
        return cls(region=region_from(environ, region))

    @classmethod
    def emulated(cls, url: str, environ: Mapping[str, str], region: str | None = None) -> "Endpoint":
        """Return an emulator's endpoint, in the given Region or us-east-1.

        Raises:
            ValueError: `url` is no http or https URL.
        """
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"the emulator's endpoint_url must begin with http:// or https://, not {url!r}")
        return cls(region=region or named_region(environ) or "us-east-1", emulator_url=url)
