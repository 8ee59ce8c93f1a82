"""Finds which of the SDK's own variables holds a value that the SDK refuses.

The SDK reads its variables when it makes a client, and its errors name a value or an option, not the variable. Its
table of options is compared with the error, to name the one variable that the operator must correct.
"""

import re
from collections.abc import Iterator, Mapping

from botocore.configprovider import BOTOCORE_DEFAUT_SESSION_VARIABLES
from botocore.exceptions import BotoCoreError

from sidecar.marketplace.errors import CredentialsMissing


class SettingRefused(CredentialsMissing):
    """The SDK refuses the value of one of its own variables, so it makes no client and signs nothing."""

    cure = (
        "Correct or unset the variable in the message; the sidecar needs none of the SDK's own settings. "
        "Then restart the pod."
    )


def refused_setting(error: Exception, environ: Mapping[str, str]) -> str | None:
    """Return a sentence that names the variable whose value the SDK refuses; None if the error has another cause."""
    if not isinstance(error, BotoCoreError | ValueError | TypeError):
        return None
    text = str(error)
    found = [(option, name) for option, name in _variables() if environ.get(name)]
    by_value = [name for _, name in found if re.search(rf"(?<!\w){re.escape(environ[name])}(?!\w)", text)]
    # Where the error names the option, that is the one; its value may be the value of another one as well.
    by_option = [name for option, name in found if re.search(rf"\b{option}\b", text)]
    for name in (*(each for each in by_option if each in by_value), *by_value):
        return f"{name} is {environ[name]!r}, which the SDK refuses: {text}"
    return None


def _variables() -> Iterator[tuple[str, str]]:
    """Yield the name of each of the SDK's options and of each variable that sets it."""
    for option, (_, names, *_rest) in BOTOCORE_DEFAUT_SESSION_VARIABLES.items():
        for name in [names] if isinstance(names, str) else names or ():
            yield option, name
