"""The two listeners: the local API for the app, the probes and metrics for the cluster. The only place with aiohttp."""
