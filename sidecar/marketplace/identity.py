"""Which identity the AWS SDK will sign with in this pod or task, and whether AWS Marketplace takes it.

It reads the environment and the SDK's files in the SDK's own order and asks no network, so only the caller can know
whether the node's role answered. It refuses to print a key or a token.
"""

import configparser
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urlsplit

Read = Callable[[str], str | None]
"""Returns a file's text, None when it cannot be read."""

_POD_IDENTITY_HOSTS = ("169.254.170.23", "fd00:ec2::23")
_POD_IDENTITY_TOKENS = "/var/run/secrets/pods.eks.amazonaws.com/"
_ECS_HOST = "169.254.170.2"


class IdentityKind(StrEnum):
    """What signs the calls."""

    IRSA = "irsa"  # EKS, IAM role for the service account
    ECS_TASK_ROLE = "ecs-task-role"
    EKS_POD_IDENTITY = "eks-pod-identity"
    NODE_ROLE = "node-role"  # the EC2 instance's role, from the instance metadata service
    STATIC_KEYS = "static-keys"  # in the environment or a profile, temporary ones included
    OTHER = "other"  # a profile's assumed role, single sign-on or process, an unknown container endpoint
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Identity:
    """The identity that wins. `accepted`: AWS Marketplace takes it from a container."""

    kind: IdentityKind
    accepted: bool
    detail: str
    cure: str = ""
    """What the operator does about it; empty when it is accepted."""
    shadows: IdentityKind | None = None
    """An identity that would be accepted, but loses against this one in the SDK's order."""


_RESTART = "Restart the pod after that: no running process gets another identity."
_USE_ROLES = f"On EKS use IAM roles for service accounts (IRSA), on ECS a task role. {_RESTART}"
_NOTHING = Identity(IdentityKind.NONE, accepted=False, detail="no credentials are configured", cure=_USE_ROLES)


def find_identity(environ: Mapping[str, str], *, read: Read, node_role: bool = False) -> Identity:
    """Return the identity that the SDK will use.

    `read` reads the SDK's configuration files and looks whether the token file is there. With `node_role` the instance
    metadata service answered with a role.
    """
    found = [*_sources(environ, read)]
    if node_role:
        detail = "the node's own role, from the instance metadata service"
        found.append(Identity(IdentityKind.NODE_ROLE, accepted=False, detail=detail, cure=_USE_ROLES))
    if not found:
        return _NOTHING
    first, *others = found
    shadowed = next((other.kind for other in others if other.accepted), None)
    if first.accepted or shadowed is None:
        return first
    return Identity(first.kind, first.accepted, first.detail, first.cure, shadowed)


def read_profile(environ: Mapping[str, str], read: Read) -> Mapping[str, str]:
    """Return the settings of the profile in force, as the SDK's two files together have it."""
    return _profile(environ, read)[1]


def _sources(environ: Mapping[str, str], read: Read) -> Iterator[Identity]:
    credentials, profile = _profile(environ, read)
    if environ.get("AWS_ACCESS_KEY_ID"):
        yield _static("AWS_ACCESS_KEY_ID is set in the environment", "Unset AWS_ACCESS_KEY_ID and its secret.")
    if "role_arn" in profile and "web_identity_token_file" not in profile:
        yield _other("a profile assumes a role")
    yield from _irsa(environ, profile, read)
    if "sso_account_id" in profile or "sso_session" in profile:
        yield _other("a profile uses single sign-on")
    if "aws_access_key_id" in credentials:
        yield _static("the shared credentials file holds keys", "Remove the file or its keys.")
    if "login_session" in profile:
        yield _other("a profile uses a login session")
    if "credential_process" in profile:
        yield _other("a profile runs a credential process")
    if "aws_access_key_id" in profile and "aws_access_key_id" not in credentials:
        yield _static("the SDK's config file holds keys", "Remove the file or its keys.")
    yield from _container(environ)


def _static(detail: str, cure: str) -> Identity:
    return Identity(IdentityKind.STATIC_KEYS, accepted=False, detail=detail, cure=f"{cure} {_USE_ROLES}")


def _other(detail: str) -> Identity:
    return Identity(IdentityKind.OTHER, accepted=False, detail=detail, cure=_USE_ROLES)


def _irsa(environ: Mapping[str, str], profile: Mapping[str, str], read: Read) -> Iterator[Identity]:
    token_file = environ.get("AWS_WEB_IDENTITY_TOKEN_FILE", profile.get("web_identity_token_file"))
    role = environ.get("AWS_ROLE_ARN", profile.get("role_arn"))
    if not token_file:
        return
    again = f"Annotate the service account with eks.amazonaws.com/role-arn. {_RESTART}"
    if not role:
        yield Identity(IdentityKind.IRSA, accepted=False, detail="AWS_ROLE_ARN is missing", cure=again)
    elif not read(token_file):
        detail = f"the token file {token_file} is missing, unreadable or empty"
        yield Identity(IdentityKind.IRSA, accepted=False, detail=detail, cure=again)
    else:
        yield Identity(IdentityKind.IRSA, accepted=True, detail=f"the service account's role {role}")


def _container(environ: Mapping[str, str]) -> Iterator[Identity]:
    relative = environ.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")
    full = environ.get("AWS_CONTAINER_CREDENTIALS_FULL_URI")
    host = None if full is None else _host(full)
    token_file = environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "")
    if relative is not None or host == _ECS_HOST:
        yield Identity(IdentityKind.ECS_TASK_ROLE, accepted=True, detail="the ECS task's role")
    elif host in _POD_IDENTITY_HOSTS or (full is not None and token_file.startswith(_POD_IDENTITY_TOKENS)):
        cure = "AWS Marketplace does not take EKS Pod Identity: remove the pod identity association and use IRSA."
        cure += f" {_RESTART}"
        yield Identity(IdentityKind.EKS_POD_IDENTITY, accepted=False, detail="EKS Pod Identity", cure=cure)
    elif full is not None:
        yield _other("AWS_CONTAINER_CREDENTIALS_FULL_URI names an unknown endpoint")


def _host(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _profile(environ: Mapping[str, str], read: Read) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """Return the profile in force as the credentials file has it, and as both files together have it."""
    name = environ.get("AWS_DEFAULT_PROFILE") or environ.get("AWS_PROFILE") or "default"
    home = environ.get("HOME", "").rstrip("/")
    config = _sections(read(environ.get("AWS_CONFIG_FILE") or f"{home}/.aws/config"))
    shared = _sections(read(environ.get("AWS_SHARED_CREDENTIALS_FILE") or f"{home}/.aws/credentials"))
    credentials = shared.get(name, {})
    section = config.get(name, {}) if name == "default" else {}
    return credentials, {**section, **config.get(f"profile {name}", {}), **credentials}


def _sections(text: str | None) -> Mapping[str, Mapping[str, str]]:
    parser = configparser.RawConfigParser(default_section="", strict=False)
    try:
        parser.read_string(text or "")
    except configparser.Error:
        return {}  # the SDK refuses the file with its path when it is asked for credentials
    return {section: dict(parser.items(section)) for section in parser.sections()}
