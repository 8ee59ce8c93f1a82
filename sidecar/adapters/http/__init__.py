"""The two listeners: the local API for the app, the probes and metrics for the cluster. The only place with aiohttp."""

import sidecar.adapters.http.loading  # noqa: F401 - first, for its effect
