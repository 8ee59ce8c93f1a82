"""Variables whose value carries what does not belong to it: white space, quotes, a line end, a byte order mark.

They come from `echo` into a secret, from quotes in an env file, from a copied line. The SDK takes such a value as it is
and fails later, about something else. Values are never shown: some are secrets.
"""

from collections.abc import Iterator, Mapping

_QUOTES = frozenset(
    "\"'`\N{LEFT DOUBLE QUOTATION MARK}\N{RIGHT DOUBLE QUOTATION MARK}\N{LEFT SINGLE QUOTATION MARK}"
    "\N{RIGHT SINGLE QUOTATION MARK}"
)
_INVISIBLE = frozenset("\N{BYTE ORDER MARK}\N{ZERO WIDTH SPACE}\N{NO-BREAK SPACE}\N{WORD JOINER}")
_OURS = frozenset(
    {"POD_NAME", "POD_NAMESPACE", "POD_UID", "POD_TERMINATION_GRACE", "KUBERNETES_SERVICE_HOST"}
    | {"KUBERNETES_SERVICE_PORT", "ECS_CONTAINER_METADATA_URI_V4", "REQUESTS_CA_BUNDLE", "SIDECAR_CONFIG"}
)
_PROXIES = frozenset({"http_proxy", "https_proxy", "no_proxy"})


def describe_padding(value: str) -> str | None:
    """Return what surrounds a value, as the rest of a sentence that begins with its name; None if nothing does."""
    if not value:
        return None
    ends = {value[0], value[-1]}
    kinds = (
        (not value.strip(), "holds nothing but white space"),
        (value.endswith(("\n", "\r")), "has a line end after its value"),
        (ends & _QUOTES, "has quotes around its value"),
        (ends & _INVISIBLE, "has an invisible character (byte order mark, no-break space) before or after its value"),
        (value != value.strip(), "has white space around its value"),
        (any(each in value for each in "\n\r\t"), "has a line end or a tab inside its value"),
    )
    return next((words for padding, words in kinds if padding), None)


def padded(environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield name and fault of every padded variable that the sidecar or the SDK reads."""
    for name in sorted(environ):
        if name.startswith("AWS_") or name in _OURS or name.lower() in _PROXIES:
            fault = describe_padding(environ[name])
            if fault is not None:
                yield name, fault
