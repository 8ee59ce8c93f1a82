"""Settings of the environment and of the SDK's files that this product ignores: they would redirect calls.

A table of names, which `sidecar.marketplace.sealing` enforces and diagnoses report. It reads files and never the
network, and it does not load the SDK.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from sidecar.marketplace.identity import Read, read_profile

PINNED: Final[Mapping[str, tuple[str, object]]] = {
    "api_versions": ("", {}),
    "auth_scheme_preference": ("AWS_AUTH_SCHEME_PREFERENCE", None),
    "account_id_endpoint_mode": ("AWS_ACCOUNT_ID_ENDPOINT_MODE", "preferred"),
    "csm_enabled": ("AWS_CSM_ENABLED", False),
    "defaults_mode": ("AWS_DEFAULTS_MODE", "legacy"),
    "disable_host_prefix_injection": ("AWS_DISABLE_HOST_PREFIX_INJECTION", None),
    "disable_request_compression": ("AWS_DISABLE_REQUEST_COMPRESSION", False),
    "endpoint_discovery_enabled": ("AWS_ENDPOINT_DISCOVERY_ENABLED", "auto"),
    "ignore_configured_endpoint_urls": ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", True),
    "max_attempts": ("AWS_MAX_ATTEMPTS", None),
    "request_checksum_calculation": ("AWS_REQUEST_CHECKSUM_CALCULATION", "when_supported"),
    "request_min_compression_size_bytes": ("AWS_REQUEST_MIN_COMPRESSION_SIZE_BYTES", 10240),
    "response_checksum_validation": ("AWS_RESPONSE_CHECKSUM_VALIDATION", "when_supported"),
    "retry_mode": ("AWS_RETRY_MODE", "standard"),
    "sigv4a_signing_region_set": ("AWS_SIGV4A_SIGNING_REGION_SET", None),
    "sts_regional_endpoints": ("AWS_STS_REGIONAL_ENDPOINTS", "regional"),
    "use_dualstack_endpoint": ("AWS_USE_DUALSTACK_ENDPOINT", False),
    "use_fips_endpoint": ("AWS_USE_FIPS_ENDPOINT", False),
}
"""The SDK's name of a setting: its variable, and the value that it always has here."""
ENDPOINT_URLS: Final = "AWS_ENDPOINT_URL"
"""How the variables begin that name another address for all services or for one."""
DATA_PATH: Final = "AWS_DATA_PATH"
MODELS: Final = ".aws/models"
"""In the home folder, the SDK's other place for models and endpoint rules."""


def without_effect(environ: Mapping[str, str], *, read: Read, is_folder: Callable[[str], bool]) -> list[str]:
    """Return what is set and has no effect, by name, in the order of the names.

    A variable with the value that applies anyway is not included: EKS sets AWS_STS_REGIONAL_ENDPOINTS=regional.
    """
    home = environ.get("HOME", "").rstrip("/")
    found = sorted({*_variables(environ), *(f"{key} in the SDK's config file" for key in _file(environ, read))})
    if is_folder(f"{home}/{MODELS}"):
        found.append(f"the folder ~/{MODELS}")
    return found


def _variables(environ: Mapping[str, str]) -> Iterator[str]:
    for name, value in environ.items():
        if value and (name == DATA_PATH or name.startswith(ENDPOINT_URLS)):
            yield name
    for variable, pinned in PINNED.values():
        value = environ.get(variable, "")
        if value and not _agrees(value, pinned):
            yield variable


def _file(environ: Mapping[str, str], read: Read) -> Iterator[str]:
    profile = read_profile(environ, read)
    for key, value in profile.items():
        if key in {"data_path", "endpoint_url", "services"} or (key in PINNED and not _agrees(value, PINNED[key][1])):
            yield key


def _agrees(value: str, pinned: object) -> bool:
    return value.strip().lower() == str(pinned).lower()
