"""Loads aiohttp for the listeners, before any module of this package imports it.

aiohttp also loads its client, which reads the system's CA files into a context: 54 ms of each start and 1 MiB. Nothing
here uses that client. While aiohttp loads, OpenSSL's default CA file is empty. The default is restored before any
other code runs, and the AWS SDK and the cluster's client name their CA files themselves.
"""

import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def _without_authorities() -> Iterator[None]:
    """Let a default context of TLS trust nothing, and so read nothing."""
    paths = ssl.get_default_verify_paths()
    names = (paths.openssl_cafile_env, paths.openssl_capath_env)
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, os.devnull))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


with _without_authorities():
    import aiohttp.web  # noqa: F401 - loads it for the modules of this package
