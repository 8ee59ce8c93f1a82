"""The proxy that the environment names for calls to AWS: which variable counts, and whether the SDK can use its value.

A user name or password with a character that ends the host part of a URL moves the rest of the password to where the
SDK looks for a host name: into name look-ups, error texts and logs. Such a value is refused before any call, and no
part of it is shown.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from sidecar.marketplace.environment import describe_padding

CURE = (
    "Set {name} as http://host:port or http://user:password@host:port, with each special character of user name and "
    "password percent-encoded (@ is %40, / is %2F, # is %23, ? is %3F, : is %3A, % is %25), or unset it."
)
_SCHEMES = frozenset({"http", "https"})
_SUFFIX = "_proxy"


@dataclass(frozen=True, slots=True)
class ProxyVariable:
    """A variable that decides how https URLs are reached."""

    name: str
    value: str
    """Empty: calls go directly, regardless of another spelling of the name."""
    hides: str | None = None
    """Another spelling whose value has no effect."""

    @property
    def fault(self) -> str | None:
        """Why the SDK cannot use the value, as the rest of a sentence that begins with the name; None if it can."""
        padding = describe_padding(self.value)
        if padding is not None:
            return padding
        if not self.value:
            return None
        parts = _split(self.value)
        if parts is None:
            return "is not the URL of an HTTP proxy; its value is not shown, because it may hold a password"
        return None

    @property
    def cure(self) -> str:
        """What to do about the fault."""
        return CURE.format(name=self.name)

    @property
    def shown(self) -> str:
        """Host and port of a sound value; never a user name or password."""
        parts = _split(self.value)
        return f"the proxy of {self.name}" if parts is None else parts.netloc.rpartition("@")[2]


def https_proxy(environ: Mapping[str, str]) -> ProxyVariable | None:
    """Return the variable that counts for https URLs in Python's order; None where none is set.

    A lower-case name goes before every other spelling. An empty one removes the proxy that another spelling names.
    """
    upper = [name for name, value in environ.items() if name.lower() == f"https{_SUFFIX}" and value]
    lower = f"https{_SUFFIX}"
    others = [name for name in upper if name != lower]
    if lower in environ:
        value = environ[lower]
        return ProxyVariable(lower, value, others[0] if others else None) if value or others else None
    return ProxyVariable(others[-1], environ[others[-1]]) if others else None


def shown_proxy(url: str) -> str:
    """Return scheme, host and port of a proxy's URL, without user name and password; a broken one is not shown."""
    parts = _split(url)
    if parts is None:
        return "a proxy whose URL is broken"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _split(value: str) -> SplitResult | None:
    """Return the parts of a proxy's URL as the SDK reads it; None if it cannot, or would take a wrong host."""
    url = value if "//" in value else f"http://{value}"
    try:
        parts = urlsplit(url if "://" in url else f"http:{url}")
        _ = parts.port  # is read only now
    except ValueError:
        return None
    # The SDK's reader ends the host at a backslash as well.
    rest = f"{parts.path}?{parts.query}#{parts.fragment}"
    if "@" in rest or "\\" in value or not value.isprintable():
        return None
    if parts.scheme not in _SCHEMES or not parts.hostname or " " in parts.hostname:
        return None
    return parts
