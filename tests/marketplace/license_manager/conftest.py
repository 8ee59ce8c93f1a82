"""A client of License Manager on the peer."""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest

from sidecar.marketplace import Endpoint
from sidecar.marketplace.license_manager import LicenseManagerClient

if TYPE_CHECKING:
    from tests.marketplace.conftest import Peer


@pytest.fixture
async def manager(peer: "Peer") -> AsyncIterator[LicenseManagerClient]:
    """A client of the peer."""
    async with LicenseManagerClient(Endpoint.emulated(peer.url, {})) as client:
        yield client
