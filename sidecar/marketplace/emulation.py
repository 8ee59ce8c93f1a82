"""The error of a call to an emulator that does not answer."""

from sidecar.marketplace.errors import NotSent


class EmulatorUnreachable(NotSent):
    """The emulator does not answer, so the request never left."""

    cure = "Start the emulator, or correct marketplace.endpoint_url; for a real product remove marketplace.mode."
