"""A real Prometheus that scrapes what it is told to, and answers queries."""

import json
import re
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlencode

from sidecar.commands.demo.environment import wait_for
from tests.monitoring.rules import RULES
from tests.support import programs
from tests.support.tools import PATIENCE

_CONFIGURATION: Mapping[str, Any] = {
    "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
    "rule_files": [str(RULES)],
    "scrape_configs": [
        {"job_name": "sidecars", "file_sd_configs": [{"files": ["targets.json"], "refresh_interval": "1s"}]}
    ],
}


@dataclass(frozen=True, slots=True)
class Target:
    """A pod as Prometheus knows it."""

    pod: str
    port: int


class Prometheus:
    """The server, with the alert rules of the chart."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._log = folder / "prometheus.log"
        self.began = time.time()
        self.watch()
        # JSON is YAML.
        (folder / "prometheus.yml").write_text(json.dumps(_CONFIGURATION), encoding="utf-8")
        program = programs.provide(programs.report, "prometheus") / "prometheus"
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(
                [
                    program,
                    f"--config.file={folder / 'prometheus.yml'}",
                    f"--storage.tsdb.path={folder / 'data'}",
                    "--web.listen-address=127.0.0.1:0",
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=folder,
            )

    def __enter__(self) -> Self:
        def listening() -> re.Match[str] | None:
            said = self._log.read_text(encoding="utf-8", errors="replace")
            assert self._process.poll() is None, said
            return re.search(r'"Listening on".*address=127\.0\.0\.1:(\d+)', said)

        try:
            self._url = f"http://127.0.0.1:{wait_for('Prometheus', listening)[1]}/api/v1/"
            wait_for("Prometheus to be ready", lambda: self.rules() or None)
        except BaseException:
            self.__exit__()
            raise
        return self

    @property
    def page(self) -> str:
        """The URL of its own metrics."""
        return self._url.replace("/api/v1/", "/metrics")

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def watch(self, *targets: Target) -> None:
        """Scrape these from now on, and no others."""
        groups = [
            {"targets": [f"127.0.0.1:{target.port}"], "labels": {"namespace": "acme", "pod": target.pod}}
            for target in targets
        ]
        unfinished = self._folder / "targets.unfinished"
        unfinished.write_text(json.dumps(groups), encoding="utf-8")
        unfinished.replace(self._folder / "targets.json")

    def ask(self, path: str, **parameters: object) -> Any:
        """Return the data of an answer of the HTTP API."""
        try:
            with urllib.request.urlopen(f"{self._url}{path}?{urlencode(parameters)}", timeout=PATIENCE) as answer:
                document = json.load(answer)
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{parameters}: {error.read().decode()}") from None
        assert "success" == document["status"], document
        assert not document.get("warnings"), document
        return document["data"]

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the series that a query gives now."""
        found: list[dict[str, Any]] = self.ask("query", query=expression)["result"]
        return found

    def history(self, expression: str) -> list[dict[str, Any]]:
        """Return the series that a query gave at any second so far."""
        return self.ask("query_range", query=expression, start=self.began, end=time.time(), step="1")["result"]  # type: ignore[no-any-return]

    def await_query(self, expression: str) -> list[dict[str, Any]]:
        """Return the series of a query as soon as there are some."""
        found: list[dict[str, Any]] = wait_for(expression, lambda: self.query(expression))
        return found

    def rules(self) -> list[dict[str, Any]]:
        """Return the alert rules as the server has loaded and evaluated them."""
        try:
            groups = self.ask("rules")["groups"]
        except (OSError, AssertionError):
            return []
        return [rule for group in groups for rule in group["rules"]]
