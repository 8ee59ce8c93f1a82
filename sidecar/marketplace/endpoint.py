"""Where calls go, and how long they may take.

Live calls go to AWS in the pod's Region and nowhere else. An emulator must be named by its URL; a missing one never
falls back to AWS. Names are those of the AWS SDK where they mean the same.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from sidecar.marketplace.regions import named_region, region_from


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Metering or License Manager in one Region. Make it by `live` or `emulated`."""

    region_name: str
    endpoint_url: str | None = None
    """The emulator; None: the service at AWS."""
    connect_timeout: timedelta = timedelta(seconds=5)
    read_timeout: timedelta = timedelta(seconds=15)
    """How long AWS may be silent before the call counts as unanswered."""
    max_pool_connections: int = 12
    """How many calls may run concurrently. One that its caller gave up counts until its answer, or its time limit."""

    @classmethod
    def live(cls, environ: Mapping[str, str] | None = None, region_name: str | None = None) -> "Endpoint":
        """Return AWS's own endpoint in `region_name`, by default in the Region that the environment names.

        Raises:
            UnsupportedRegion: There is no Region, or what is named is no Region.
        """
        return cls(region_name=region_from(os.environ if environ is None else environ, region_name))

    @classmethod
    def emulated(
        cls, endpoint_url: str, environ: Mapping[str, str] | None = None, region_name: str | None = None
    ) -> "Endpoint":
        """Return an emulator's endpoint, in the given Region, the environment's or us-east-1.

        Raises:
            ValueError: `endpoint_url` is no http or https URL.
        """
        if not endpoint_url.startswith(("http://", "https://")):
            raise ValueError(f"the emulator's endpoint_url must begin with http:// or https://, not {endpoint_url!r}")
        named = region_name or named_region(os.environ if environ is None else environ)
        return cls(region_name=named or "us-east-1", endpoint_url=endpoint_url)
