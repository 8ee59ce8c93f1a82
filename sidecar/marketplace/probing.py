"""Questions that try the way to AWS without leaving a trace there: what a diagnosis asks before the first real call.

Uses the SDK's own proxy, certificate and credential rules, so the sidecar will meet the same result. Every
method blocks and belongs on a thread. It refuses to register, to meter anything and to return a credential.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import botocore.exceptions
from botocore.awsrequest import AWSRequest
from botocore.httpsession import URLLib3Session
from botocore.utils import get_environ_proxies

from sidecar.domain.http_date import read_date
from sidecar.domain.plaintext import one_line
from sidecar.marketplace.addresses import address_of
from sidecar.marketplace.endpoint import Endpoint
from sidecar.marketplace.errors import UnknownAnswer
from sidecar.marketplace.proxies import shown_proxy
from sidecar.marketplace.sdk import Connection
from sidecar.marketplace.sdk_settings import SettingRefused, refused_setting
from sidecar.marketplace.types import MeterUsageRequest
from sidecar.marketplace.unreachable import (
    TRANSPORT,
    CertificateRefused,
    ProxyUnusable,
    certificate_fault,
    describe,
    require_usable_proxy,
)
from sidecar.marketplace.wire import members

T = TypeVar("T")

CONNECT_WITHIN = timedelta(seconds=2)
ANSWER_WITHIN = timedelta(seconds=2)
NO_BUNDLE = "CertificatesMissing"
"""The code of a failure for want of the file of certificates."""
_LONGEST_DETAIL = 400
_NO_QUANTITY = "0"


class ProbeFailed(Exception):
    """A question got no answer, or a refusal. `code` is AWS's error code, or the name of the SDK's exception."""

    def __init__(self, code: str, detail: str, cure: str | None = None) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
        self.cure = cure
        """What to do, if the failure itself shows it; None if the caller knows better."""


class ServiceProbe:
    """The way to one metering service and to its token service.

    Args:
        endpoint: Where the services are.
        within: How long an answer may take.
        connection: Is used in place of a new one, which takes as much memory again; with its own time limits, and its
            credentials.

    Raises:
        ProbeFailed: The SDK's own configuration cannot be read.
    """

    def __init__(
        self, endpoint: Endpoint, within: timedelta = ANSWER_WITHIN, connection: Connection | None = None
    ) -> None:
        bounded = replace(endpoint, connect_timeout=CONNECT_WITHIN, read_timeout=within)
        self._connection = _translated(lambda: Connection(bounded)) if connection is None else connection
        self._endpoint_url = endpoint.endpoint_url
        self._region = endpoint.region_name
        self._timeout = (CONNECT_WITHIN.total_seconds(), within.total_seconds())
        # As the SDK: its own setting, or that of a profile, before the one that it shares with other programs.
        # Asked for as a whole first: a profile that is not there would only show in the middle of a call.
        _translated(self._connection.session.get_scoped_config)
        # So would a value that the SDK refuses.
        keys = {"aws_access_key_id": "none", "aws_secret_access_key": "none"}
        _translated(lambda: self._connection.make_client("sts", **keys))
        configured = self._connection.session.get_config_variable("ca_bundle")
        self.ca_bundle: str | None = configured or os.environ.get("REQUESTS_CA_BUNDLE")
        """The file of certificates that replaces the SDK's own."""

    @property
    def emulated(self) -> bool:
        """An emulator is asked in AWS's place."""
        return self._endpoint_url is not None

    def address(self, service: str) -> str:
        """Return the URL of a service, `meteringmarketplace` or `sts`. Needs no credentials."""
        return self._endpoint_url or address_of(service, self._region)

    def proxy(self, url: str) -> str | None:
        """Return the proxy that calls to `url` go through, without the password in it; None when they go directly."""
        chosen = self._proxies(url).get(urlsplit(url).scheme)
        if not chosen:
            return None
        return shown_proxy(chosen)

    def reach(self, url: str) -> datetime | None:
        """Ask `url` anything; any answer will do. Return the instant that its Date header names, if there is one.

        Raises:
            ProbeFailed: There is no answer: name, proxy, connection or certificate.
        """
        if self.ca_bundle is not None and not Path(self.ca_bundle).is_file():
            # The SDK would only find that the connection broke.
            raise ProbeFailed(NO_BUNDLE, f"{self.ca_bundle} is not there")
        session = URLLib3Session(
            verify=self.ca_bundle or True, proxies=self._proxies(url), timeout=self._timeout, max_pool_connections=1
        )
        self._require_proxy(url)
        try:
            answer = _translated(lambda: session.send(AWSRequest("GET", url).prepare()))
        finally:
            session.close()
        return read_date(answer.headers.get("Date"))

    def credentials_method(self) -> str | None:
        """Return the SDK's name for where it found credentials, None when it found none.

        Raises:
            MarketplaceError: A source is configured and fails.
        """
        return self._connection.credentials_method()

    def caller(self) -> str | None:
        """Return the ARN that AWS knows the caller by, without the name of its session; None without credentials.

        Raises:
            ProbeFailed: The role cannot be assumed, or the token service cannot be asked.
        """
        self._require_proxy(self.address("sts"))
        return _translated(self._caller)

    def try_meter_usage(self, product_code: str, dimension: str, now: datetime) -> None:
        """Ask by a dry run whether the caller may meter; nothing is metered.

        Raises:
            MarketplaceError: It may not, or could not be asked.
        """
        request = MeterUsageRequest(
            product_code=product_code,
            timestamp=now,
            usage_dimension=dimension,
            usage_quantity_as_decimal=_NO_QUANTITY,
            dry_run=True,
        )
        try:
            self._connection.send("MeterUsage", members(request))
        except UnknownAnswer as answer:
            if answer.code != "DryRunOperation":
                raise

    def _require_proxy(self, url: str) -> None:
        if self._endpoint_url is not None:
            return
        try:
            require_usable_proxy(url)
        except ProxyUnusable as unusable:
            raise ProbeFailed(type(unusable).__name__, unusable.message, unusable.cure) from None

    def _proxies(self, url: str) -> Mapping[str, str]:
        # Calls to an emulator go past every proxy.
        return {} if self._endpoint_url is not None else get_environ_proxies(url)

    def _caller(self) -> str | None:
        credentials = self._connection.credentials()
        if credentials is None:
            return None
        credentials.get_frozen_credentials()
        sts = self._connection.make_client("sts", endpoint_url=self._endpoint_url)
        try:
            arn = str(sts.get_caller_identity()["Arn"])
        finally:
            sts.close()
        # The session of an assumed role is named after nothing that an operator knows.
        return arn.rpartition("/")[0] if ":assumed-role/" in arn else arn


def _translated(ask: Callable[[], T]) -> T:
    """Return what `ask` returns; whatever the SDK raises becomes a `ProbeFailed` of one line."""
    try:
        return ask()
    except botocore.exceptions.ClientError as error:
        details = error.response.get("Error", {})
        failure = ProbeFailed(
            str(details.get("Code") or "unknown"), one_line(str(details.get("Message") or ""), _LONGEST_DETAIL)
        )
    except TRANSPORT as error:
        failure = ProbeFailed(_kind(error), one_line(describe(error), _LONGEST_DETAIL))
    except (botocore.exceptions.BotoCoreError, ValueError, TypeError) as error:
        refused = refused_setting(error, os.environ)
        failure = (
            ProbeFailed(type(error).__name__, one_line(str(error), _LONGEST_DETAIL))
            if refused is None
            else ProbeFailed(SettingRefused.__name__, one_line(refused, _LONGEST_DETAIL), SettingRefused.cure)
        )
    # Raised here because an SDK exception, which may quote the request, must not become its context.
    raise failure


def _kind(error: Any) -> str:
    """Return the name of the fault; a refused certificate is distinct from other faults of TLS."""
    return type(error).__name__ if certificate_fault(error) is None else CertificateRefused.__name__
