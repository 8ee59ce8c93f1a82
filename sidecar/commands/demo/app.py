"""The app of the demonstration: it uses two dimensions and reports them to the sidecar."""

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime

from sidecar.commands.demo.environment import ScenarioError, request
from sidecar.domain import timestamps
from sidecar.domain.metering.hours import hour_of, start_of
from sidecar.domain.metering.quantity import parse_signed
from sidecar.http_client import NoAnswer


@dataclass
class App:
    """The seller's app: its usage, in millionths by hour and dimension, and the events that it still has to deliver."""

    port: int
    used: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    events: int = 0
    repeats: int = 0
    waiting: list[dict[str, str]] = field(default_factory=list)
    delivered: list[dict[str, str]] = field(default_factory=list)
    """The last batch that the sidecar acknowledged."""

    def work(self, now: datetime) -> None:
        """Use both dimensions and report it."""
        hour = timestamps.render(start_of(hour_of(now)))
        for dimension, quantity in (("requests", str(1 + self.events % 7)), ("gigabytes", "0.125")):
            self.events += 1
            self.used[hour, dimension] += parse_signed(quantity)
            event = {
                "id": f"evt-{self.events}",
                "dimension": dimension,
                "quantity": quantity,
                "timestamp": timestamps.render(now),
            }
            self.waiting.append(event)
        self.deliver()

    def deliver(self) -> bool:
        """Send the waiting events; return whether the sidecar took them. Without an answer they keep waiting."""
        try:
            response = request(self.port, "POST", "/v1/usage", self.waiting)
        except NoAnswer:
            return False
        if response.status != 202:
            raise ScenarioError(f"the sidecar refused usage: {response.body.decode()}")
        self.repeats += response.document()["duplicates"]
        self.delivered, self.waiting = self.waiting, []
        return True

    def miss_the_answer(self) -> None:
        """Act as if the last answer was lost: its events are sent again under the same ids."""
        self.waiting = self.delivered + self.waiting
