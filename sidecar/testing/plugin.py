"""Fixtures for pytest: `marketplace_emulator`, and `marketplace_sidecar` beside it.

pytest loads this module by its entry point wherever `marketplace-sidecar` is installed. So it imports pytest alone: a
run that uses no fixture pays for nothing else. A process is started on first use; emulators are kept for the whole run,
one for each configuration, and reset before each test.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from sidecar.testing.marketplace import MarketplaceEmulator, MarketplaceSidecar


@pytest.fixture
def marketplace_config() -> Mapping[str, Any]:
    """The product under test, as a sidecar's configuration; override it, in any scope.

    The lists `customers` and `licenses` are the emulator's.
    """
    from sidecar.testing.marketplace import CONFIGURATION  # noqa: PLC0415 - see above

    return CONFIGURATION


@pytest.fixture(scope="session")
def _marketplace_emulators() -> "Iterator[dict[str, MarketplaceEmulator]]":
    running: dict[str, MarketplaceEmulator] = {}
    yield running
    for emulator in running.values():
        emulator.close()


@pytest.fixture
def marketplace_emulator(
    marketplace_config: Mapping[str, Any],
    _marketplace_emulators: "dict[str, MarketplaceEmulator]",
    tmp_path_factory: pytest.TempPathFactory,
) -> "MarketplaceEmulator":
    """A local AWS Marketplace that knows the product of `marketplace_config`, in the state of its seed."""
    from sidecar.testing.marketplace import MarketplaceEmulator, encode  # noqa: PLC0415 - see above

    key = encode(marketplace_config)
    if key not in _marketplace_emulators:
        _marketplace_emulators[key] = MarketplaceEmulator(tmp_path_factory.mktemp("emulator"), marketplace_config)
    emulator = _marketplace_emulators[key]
    emulator.reset()
    return emulator


@pytest.fixture
def marketplace_sidecar(
    marketplace_config: Mapping[str, Any],
    marketplace_emulator: "MarketplaceEmulator",
    tmp_path_factory: pytest.TempPathFactory,
) -> "Iterator[MarketplaceSidecar]":
    """A sidecar beside `marketplace_emulator`, on an empty ledger, as a new pod."""
    from sidecar.testing.marketplace import MarketplaceSidecar  # noqa: PLC0415 - see above

    sidecar = MarketplaceSidecar(tmp_path_factory.mktemp("sidecar"), marketplace_emulator, marketplace_config)
    yield sidecar
    sidecar.close()
