"""The service model of the installed SDK: what each operation of the metering service may answer."""

from typing import Any

import botocore.loaders

MODEL: dict[str, Any] = botocore.loaders.Loader().load_service_model("meteringmarketplace", "service-2")


def modelled(operation: str) -> frozenset[str]:
    """Return the names of the errors that the model gives `operation`."""
    return frozenset(error["shape"] for error in MODEL["operations"][operation]["errors"])
