"""The short table of endpoints leads to the same addresses as the SDK's own."""

from urllib.parse import parse_qs, urlsplit

import botocore.session
import pytest
from botocore.config import Config
from botocore.loaders import Loader

from sidecar.marketplace.package_data import package_data

OPERATIONS = {
    "meteringmarketplace": "meter_usage",
    "sts": "assume_role_with_web_identity",
    "license-manager": "checkout_license",
    "marketplace-entitlement": "get_entitlements",
}


@pytest.fixture(scope="module")
def whole() -> Loader:
    """The SDK's data as the SDK loads it."""
    return Loader([Loader.BUILTIN_DATA_PATH], include_default_search_paths=False)


def signed(loader: Loader, service: str, regions: list[str]) -> dict[str, tuple[str, list[str], str]]:
    """Return for each Region what a call of `service` is sent to, the scope it is signed for, and the partition."""
    session = botocore.session.Session()
    session.register_component("data_loader", loader)
    found = {}
    for region in regions:
        client = session.create_client(
            service,
            region_name=region,
            aws_access_key_id="key",
            aws_secret_access_key="secret",
            config=Config(parameter_validation=False, signature_version="v4"),
        )
        url = urlsplit(client.generate_presigned_url(OPERATIONS[service]))
        scope = parse_qs(url.query).get("X-Amz-Credential", [""])[0].split("/")[2:]
        found[region] = (url.netloc, scope, client.meta.partition)
    return found


@pytest.mark.parametrize("service", OPERATIONS)
def test_same_addresses_in_each_region(service: str, whole: Loader) -> None:
    """Host, signature and partition are the SDK's own, in each Region that it knows and in one that is too new."""
    known = [region for partition in whole.load_data("endpoints")["partitions"] for region in partition["regions"]]
    regions = [*known, "eu-west-99", "moon-1"]
    assert len(known) > 35
    assert signed(whole, service, regions) == signed(package_data(), service, regions)


def test_the_whole_table_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client is made without the SDK's table of all endpoints, which takes 7 MiB."""
    package_data.cache_clear()
    opened: list[str] = []
    loader = package_data()
    load = loader.file_loader.load_file

    def note(path: str) -> object:
        opened.append(path.rpartition("/")[2])
        return load(path)

    monkeypatch.setattr(loader.file_loader, "load_file", note)
    signed(loader, "meteringmarketplace", ["eu-west-1"])
    assert "partitions" in opened
    assert "endpoints" not in opened
