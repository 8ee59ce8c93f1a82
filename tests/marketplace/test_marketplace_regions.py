"""Which Region and which service are called."""

import pytest

from sidecar.marketplace import REGIONS, Disposition, Endpoint, UnsupportedRegion, region_from
from sidecar.marketplace.regions import is_listed, unlisted


@pytest.mark.parametrize("region", REGIONS)
def test_supported_regions_pass(region: str) -> None:
    """Each of the 17 Regions is taken from AWS_REGION."""
    assert region == region_from({"AWS_REGION": region})


def test_there_are_seventeen_regions() -> None:
    """Custom metering for containers exists in 17 Regions, each listed once."""
    assert (17, 17) == (len(REGIONS), len(set(REGIONS)))


@pytest.mark.parametrize(
    ("environ", "configured", "expected"),
    [
        ({"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "us-east-1"}, None, "eu-west-1"),
        ({"AWS_DEFAULT_REGION": "us-east-1"}, None, "us-east-1"),
        ({"AWS_REGION": "", "AWS_DEFAULT_REGION": "us-east-1"}, None, "us-east-1"),
        ({"AWS_REGION": " eu-west-1\n"}, None, "eu-west-1"),
        ({"AWS_REGION": "eu-west-1"}, "sa-east-1", "sa-east-1"),
        ({}, "sa-east-1", "sa-east-1"),
    ],
)
def test_region_order(environ: dict[str, str], configured: str | None, expected: str) -> None:
    """The configured Region wins over AWS_REGION, that over AWS_DEFAULT_REGION; blank ones do not count."""
    assert expected == region_from(environ, configured)


@pytest.mark.parametrize("region", ["EU-WEST-1", "eu-west-1.evil.example", "mars-1", "eu-west-1/x", "eu-west-1a"])
def test_no_region_is_refused(region: str) -> None:
    """What is not the name of a Region is refused by its name; no list makes others look refused."""
    with pytest.raises(UnsupportedRegion, match=region) as refusal:
        Endpoint.live({"AWS_REGION": region})
    assert Disposition.FIX_SETUP is refusal.value.disposition
    assert "supported are" not in str(refusal.value)


@pytest.mark.parametrize("region", ["eu-south-1", "us-gov-west-1", "cn-north-1", "mars-north-1"])
def test_unlisted_region_is_called(region: str) -> None:
    """A Region that AWS does not list is called, because AWS adds Regions on request, and differs from the others."""
    assert region == Endpoint.live({"AWS_REGION": region}).region_name
    assert not is_listed(region)
    assert region in unlisted(region)
    assert all(map(is_listed, REGIONS))


@pytest.mark.parametrize(("region", "fault"), [('"eu-west-1"', "quotes"), ("'eu-west-1'", "quotes")])
def test_quoted_region_is_named_as_such(region: str, fault: str) -> None:
    """Quotes around the name are what is reported."""
    with pytest.raises(UnsupportedRegion, match=f"has {fault} around its value"):
        Endpoint.live({"AWS_REGION": region})


def test_missing_region_is_refused() -> None:
    """Without any Region nothing is guessed; the refusal names the variables to set."""
    with pytest.raises(UnsupportedRegion, match="AWS_REGION"):
        Endpoint.live({})


@pytest.mark.parametrize(
    ("environ", "region", "expected"),
    [({}, None, "us-east-1"), ({"AWS_REGION": "mars-1"}, None, "mars-1"), ({"AWS_REGION": "mars-1"}, "x-1", "x-1")],
)
def test_emulator_stands_anywhere(environ: dict[str, str], region: str | None, expected: str) -> None:
    """An emulator takes any Region, and us-east-1 when none is named."""
    assert expected == Endpoint.emulated("http://localhost:1", environ, region).region_name


@pytest.mark.parametrize("url", ["", "localhost:8080", "file:///etc/passwd"])
def test_emulator_needs_a_url(url: str) -> None:
    """Without a usable URL emulator mode fails; it never turns into AWS."""
    with pytest.raises(ValueError, match="endpoint_url"):
        Endpoint.emulated(url, {})


def test_environment_of_the_process_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without arguments an endpoint is in the pod's own Region, and a given one is taken before it."""
    monkeypatch.setenv("AWS_REGION", "eu-west-3")
    assert "eu-west-3" == Endpoint.live().region_name
    assert Endpoint(region_name="eu-west-3", endpoint_url="http://localhost:1") == Endpoint.emulated(
        "http://localhost:1"
    )
    assert "us-east-1" == Endpoint.live(region_name="us-east-1").region_name
