"""A command of the product as a child process whose output goes to a file.

The child gets no variable that would reach the sidecar or the AWS SDK from the surrounding environment, and no module
of the folder that the tests run in. It ends with this process, however that ends.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

PATIENCE = 120.0
"""Real seconds after which a wait counts as a hang: a busy machine may take many times the usual 1."""
_FOREIGN = ("AWS_", "SIDECAR_", "KUBERNETES_", "ECS_", "POD_")
_STOP_WITHIN = 30.0
_TAIL = 2000


class ProcessError(Exception):
    """A process did not do what the test waits for; the message ends with its last output."""


class Child:
    """A running command. `stop` ends it by SIGTERM, `kill` without its handlers."""

    def __init__(self, arguments: list[str], log: Path, variables: Mapping[str, str] | None = None) -> None:
        self.log = log
        kept = {name: value for name, value in os.environ.items() if not name.upper().startswith(_FOREIGN)}
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "sidecar.testing.child", *arguments],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                env={**kept, **(variables or {})},
            )

    @property
    def output(self) -> str:
        """Everything that it has written so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def wait_for(self, what: str, look: Callable[[], T | None], within: float = PATIENCE) -> T:
        """Return the first value of `look` that is not None; an address that does not answer counts as not yet.

        Raises:
            ProcessError: There was none within `within` seconds, or the process ended before.
        """
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            ended = self._process.poll()
            with suppress(OSError):
                found = look()
                if found is not None:
                    return found
            if ended is not None:
                raise self._error(f"The process ended with code {ended} before {what}.")
            time.sleep(0.02)
        raise self._error(f"{what[:1].upper()}{what[1:]} did not come within {within:.0f} s.")

    @contextmanager
    def ended_on_error(self) -> Iterator[None]:
        """End it if the block fails, because its owner is not made then."""
        try:
            yield
        except BaseException:
            self.kill()
            raise

    def stop(self) -> int:
        """End it by SIGTERM and return its exit code; raises ProcessError if it does not end."""
        self._process.terminate()
        try:
            return self._process.wait(_STOP_WITHIN)
        except subprocess.TimeoutExpired:
            self.kill()
            raise self._error(f"The process did not end within {_STOP_WITHIN:.0f} s after SIGTERM.") from None

    def kill(self) -> None:
        """End it by SIGKILL, if it still runs."""
        self._process.kill()
        self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()

    def _error(self, sentence: str) -> ProcessError:
        return ProcessError(f"{sentence} Its last output:\n{self.output[-_TAIL:]}")
