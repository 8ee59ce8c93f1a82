"""The downward API's files about what the pod's containers have, as the chart mounts them."""

from pathlib import Path

from sidecar.domain.metering.sources import Resource, ResourceUnreadable

FOLDER = Path("/etc/marketplace-sidecar/resources")
_MOST_BYTES = 64
"""More than any figure has."""


class ResourceFiles:
    """Reads a resource's file anew each time: the kubelet rewrites it when a container is resized."""

    def __init__(self, folder: Path = FOLDER) -> None:
        """Read the files below `folder`."""
        self._folder = folder

    def __call__(self, resource: Resource) -> int:
        """Return millicores or bytes.

        Raises:
            ResourceUnreadable: The file is missing, or does not hold a positive whole number.
        """
        path = self._folder / resource.file_name
        try:
            with path.open("rb") as file:
                return resource.parse(file.read(_MOST_BYTES).decode("ascii", "replace"))
        except OSError as error:
            raise ResourceUnreadable(f"{path} cannot be read: {error.strerror or error}") from None
        except ValueError as error:
            raise ResourceUnreadable(f"{path} {error}") from None
