"""The only place that knows the AWS SDK: one session for one service, its credentials, one attempt per call.

Every method blocks and belongs on a worker thread. It refuses to retry, to follow any setting that redirects a call
 (`sealing`; those of the STS client behind IRSA included), and to reach past an emulator to AWS. Whatever the SDK
raises leaves here as a `MarketplaceError`, whose kind depends on whether the request was sent; `sending` knows.
"""

import logging
import threading
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import boto3
import botocore.credentials
import botocore.exceptions
import botocore.session
from botocore import xform_name
from botocore.config import Config

from sidecar import __version__
from sidecar.domain.plaintext import one_line
from sidecar.marketplace.addresses import address_of
from sidecar.marketplace.endpoint import Endpoint
from sidecar.marketplace.errors import (
    AccessDenied,
    CredentialsMissing,
    CredentialsRefused,
    MarketplaceError,
    NoAnswer,
    NotSent,
    UnknownAnswer,
)
from sidecar.marketplace.long_lists import accept_encoded
from sidecar.marketplace.passage import Passage
from sidecar.marketplace.sealing import seal
from sidecar.marketplace.sending import passage, watch
from sidecar.marketplace.service import METERING, Service
from sidecar.marketplace.service_clock import ServiceClock
from sidecar.marketplace.service_errors import ERRORS, ThrottlingException, error_from
from sidecar.marketplace.unreachable import explain, require_usable_proxy

_NO_CREDENTIALS = (botocore.exceptions.NoCredentialsError, botocore.exceptions.CredentialRetrievalError)
_LOST = (botocore.exceptions.HTTPClientError, botocore.exceptions.ConnectionError)

_TRANSIENT_STS = frozenset({"ExpiredToken", "ExpiredTokenException", "IDPCommunicationError"})
_LONGEST_MESSAGE = 500


class Connection:
    """The service as the SDK reaches it. Safe to use from several threads."""

    def __init__(self, endpoint: Endpoint, clock: ServiceClock | None = None, service: Service = METERING) -> None:
        # It logs every failed refresh with a whole traceback; the caller gets the error as well and logs it once.
        logging.getLogger("botocore.credentials").setLevel(logging.CRITICAL)
        self.session = botocore.session.Session()
        seal(self.session, endpoint)
        self._endpoint = endpoint
        self._clock = clock
        self._service = service
        self._config = Config(
            connect_timeout=endpoint.connect_timeout.total_seconds(),
            read_timeout=endpoint.read_timeout.total_seconds(),
            max_pool_connections=endpoint.max_pool_connections,
            retries={"total_max_attempts": 1, "mode": "standard"},
            ignore_configured_endpoint_urls=True,
            parameter_validation=False,  # checked before, and more strictly
            user_agent_extra=f"marketplace-sidecar/{__version__}",
            **({} if endpoint.endpoint_url is None else {"proxies": {}}),
        )
        # The session's default reaches the STS client that the SDK's credential chain makes for itself.
        self.session.set_default_client_config(self._config)
        self.session.set_config_variable("region", endpoint.region_name)
        if endpoint.endpoint_url is not None:
            self.session.register_component("credential_provider", self._emulated_credentials())
        # Two locks, because the source of the credentials may be silent for long.
        self._lock = threading.Lock()
        self._making = threading.Lock()
        self._client: Any = None
        self._watched = False

    def send(self, operation: str, members: Mapping[str, Any]) -> Mapping[str, Any]:
        """Make one attempt at `operation` and return the answer's members.

        Raises:
            MarketplaceError: Any of them but `InvalidRequest`.
        """
        if self._endpoint.endpoint_url is None:
            require_usable_proxy(address_of(self._service.name, self._endpoint.region_name))
        failure: MarketplaceError | None = None
        answer: Mapping[str, Any] = {}
        try:
            client = self._ready_client()
        except Exception as error:  # noqa: BLE001 - the chain runs foreign code; all of it ends before anything is sent
            failure = self._explain(_credentials_error(error), error, for_credentials=True)
        else:
            with passage(watched=self._watched) as call:
                try:
                    answer = self._timed(getattr(client, xform_name(operation)), members)
                except Exception as error:  # noqa: BLE001 - the SDK's parser raises anything on a garbled answer
                    failure = self._explain(self._call_error(client, operation, members, error, call), error)
        if failure is not None:
            # Raised here because an SDK exception, which may quote the request, must not become its context.
            raise failure
        return answer

    def credentials_method(self) -> str | None:
        """Return the SDK's name for where it found credentials, None when it found none.

        Raises:
            CredentialsMissing: A source is configured and fails.
        """
        failure: MarketplaceError | None = None
        try:
            credentials = self.credentials()
        except Exception as error:  # noqa: BLE001 - see send
            failure = self._explain(_credentials_error(error), error, for_credentials=True)
            credentials = None
        if failure is not None:
            raise failure
        return None if credentials is None else str(credentials.method)

    def close(self) -> None:
        """Close idle connections; a call that runs keeps its own until it ends."""
        with self._making:
            if self._client is not None:
                self._client.close()

    def _explain(
        self, failure: MarketplaceError, error: Exception, *, for_credentials: bool = False
    ) -> MarketplaceError:
        return explain(failure, error, self._endpoint.endpoint_url, for_credentials=for_credentials)

    def _call_error(
        self, client: Any, operation: str, members: Mapping[str, Any], error: Exception, call: Passage
    ) -> MarketplaceError:
        if isinstance(error, botocore.exceptions.ClientError):
            if error.operation_name == operation:
                return self._answered_error(client.meta.service_model.operation_model(operation), members, error)
            # The token service's: the SDK asks it for new credentials in the middle of a call, before it signs.
            return _credentials_error(error)
        if isinstance(error, _NO_CREDENTIALS):
            return CredentialsMissing(_text(error))
        if not call.sent:
            return NotSent(_text(error))
        if isinstance(error, _LOST):
            return NoAnswer(_text(error))
        return UnknownAnswer(f"the SDK could not read the answer ({type(error).__name__})")

    def _answered_error(self, operation: Any, members: Mapping[str, Any], error: Any) -> MarketplaceError:
        secrets = {name: members[name] for name in self._service.secret_members if members.get(name)}
        code, message, status, request_id = _error_parts(error, secrets)
        if code == str(status):
            # Without an error name the SDK passes on the whole body, which is not the service's.
            return UnknownAnswer(f"HTTP {status} without an error of the service", code, request_id)
        modelled = {shape.name for shape in operation.error_shapes}
        found = error_from(modelled, code, message, request_id, status, kinds=self._service.errors)
        found.read_members(error.response)
        if isinstance(found, AccessDenied):
            # IAM's name of each service that has a client here is the one that its calls are signed for.
            found.name_permission(operation.service_model.signing_name, operation.name)
        return found

    def _timed(self, method: Any, members: Mapping[str, Any]) -> Mapping[str, Any]:
        """Call `method`, and compare the service's clock with ours, also for an answer that is an error."""
        answer: Mapping[str, Any]
        if self._clock is None:
            answer = method(**members)
            return answer
        asked_at = self._clock.asked()
        try:
            answer = method(**members)
        except botocore.exceptions.ClientError as error:
            self._clock.answered(asked_at, error.response.get("ResponseMetadata", {}))
            raise
        self._clock.answered(asked_at, answer.get("ResponseMetadata", {}))
        return answer

    def make_client(self, service: str, **options: Any) -> Any:
        """Return the SDK's client of any service, with the session's limits and credentials."""
        with self._making:  # a session makes one client at a time
            return self.session.create_client(service, **options)

    def credentials(self) -> Any:
        """Return the SDK's credentials, None where nothing gives any; raises whatever the SDK does."""
        with self._lock:  # the session asks its chain again on each call until something is found
            return self.session.get_credentials()

    def _ready_client(self) -> Any:
        credentials = self.credentials()
        if credentials is None:
            raise botocore.exceptions.NoCredentialsError
        credentials.get_frozen_credentials()
        with self._making:
            if self._client is None:
                self._client = boto3.Session(botocore_session=self.session).client(
                    self._service.name, endpoint_url=self._endpoint.endpoint_url
                )
                self._watched = watch(self._client)
                accept_encoded(self._client)
            return self._client

    def _emulated_credentials(self) -> Any:
        """Return a chain of what costs no call outside: static keys, IRSA against the emulator, else made-up keys."""
        profile = self.session.get_config_variable("profile") or "default"

        def sts(service: str, **options: Any) -> Any:
            return self.session.create_client(service, endpoint_url=self._endpoint.endpoint_url, **options)

        return botocore.credentials.CredentialResolver(
            [
                botocore.credentials.EnvProvider(),
                botocore.credentials.AssumeRoleWithWebIdentityProvider(
                    load_config=lambda: self.session.full_config, client_creator=sts, profile_name=profile, cache={}
                ),
                botocore.credentials.SharedCredentialProvider(
                    self.session.get_config_variable("credentials_file"), profile_name=profile
                ),
                _MadeUpKeys(),
            ]
        )


class _MadeUpKeys:
    """Credentials for an emulator if none are configured."""

    METHOD = CANONICAL_NAME = "emulator"

    def load(self) -> Any:
        return botocore.credentials.Credentials("emulator", "emulator", method=self.METHOD)


def _credentials_error(error: Exception) -> MarketplaceError:
    if isinstance(error, botocore.exceptions.ClientError):
        code, message, status, request_id = _error_parts(error)
        again = status >= 500 or code in _TRANSIENT_STS or ERRORS.get(code) is ThrottlingException
        return (CredentialsMissing if again else CredentialsRefused)(message, code, request_id)
    return CredentialsMissing(_text(error))


def _error_parts(error: Any, secrets: Mapping[str, str] = MappingProxyType({})) -> tuple[str, str, int, str | None]:
    answer = error.response
    metadata = answer.get("ResponseMetadata", {})
    details = answer.get("Error", {})
    message = str(details.get("Message") or "")
    for name, value in secrets.items():
        message = message.replace(value, f"<{name}>")
    message = one_line(message, _LONGEST_MESSAGE)
    return str(details.get("Code") or ""), message, int(metadata.get("HTTPStatusCode", 0)), metadata.get("RequestId")


def _text(error: Exception) -> str:
    return one_line(f"{type(error).__name__}: {error}", _LONGEST_MESSAGE)
