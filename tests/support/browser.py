"""A headless Chromium, driven by plain WebDriver requests to chromedriver.

Only what the tests of the console need: addresses, elements by CSS selector, clicks, keys, scripts, the page's size and
a screenshot. Refuses the network: the browser starts without any background service.
"""

import base64
import json
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from sidecar.commands.demo.environment import free_port, wait_for
from tests.support.tools import PATIENCE, need

PACKAGES = {"chromium": "chromium", "chromedriver": "chromium-driver"}
"""The programs, each with its Debian package."""
TAB, ENTER, SPACE = "\ue004", "\ue007", " "
"""Keys in WebDriver's code."""

_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-proxy-server"),
    *("--force-device-scale-factor=1", "--hide-scrollbars"),
)


class DriverError(Exception):
    """The browser could not do what was asked for; the message is the driver's."""


class Browser:
    """One window."""

    def __init__(self, driver: int, folder: Path, chromium: str, *flags: str) -> None:
        self._base = f"http://127.0.0.1:{driver}"
        options = {"binary": chromium, "args": [*_FLAGS, f"--user-data-dir={folder}", *flags]}
        capabilities = {"alwaysMatch": {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}}
        session = self._send("POST", "/session", {"capabilities": capabilities})["sessionId"]
        self._base += f"/session/{session}"

    def open(self, url: str) -> None:
        """Go to an address and wait until it is loaded."""
        self._send("POST", "/url", {"url": url})

    def resize(self, width: int, height: int) -> None:
        """Set the size of the page, below the least width of a window too."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.command("Emulation.setDeviceMetricsOverride", metrics)

    def command(self, name: str, parameters: dict[str, Any]) -> Any:
        """Send a command of the DevTools protocol."""
        return self._send("POST", "/goog/cdp/execute", {"cmd": name, "params": parameters})

    def run(self, script: str, *arguments: Any) -> Any:
        """Return what a script returns; it may be a promise."""
        return self._send("POST", "/execute/sync", {"script": script, "args": arguments})

    def text(self, selector: str) -> str:
        """Return the text that an element shows."""
        return str(self._send("GET", f"/element/{self._find(selector)}/text"))

    def name(self, selector: str) -> str:
        """Return the accessible name of an element."""
        return str(self._send("GET", f"/element/{self._find(selector)}/computedlabel"))

    def click(self, selector: str) -> None:
        """Click on an element, which must be visible."""
        self._send("POST", f"/element/{self._find(selector)}/click", {})

    def type(self, selector: str, text: str) -> None:
        """Replace the text of a field."""
        element = self._find(selector)
        self._send("POST", f"/element/{element}/clear", {})
        self._send("POST", f"/element/{element}/value", {"text": text})

    def press(self, keys: str) -> None:
        """Press keys one after another, wherever the focus is."""
        actions = [{"type": step, "value": key} for key in keys for step in ("keyDown", "keyUp")]
        self._send("POST", "/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})

    def await_text(self, selector: str, expected: str) -> None:
        """Wait until an element shows a text."""
        wait_for(f"{expected!r} in {selector}", lambda: expected in self._look(selector))

    def _look(self, selector: str) -> str:
        try:
            return self.text(selector)
        except DriverError:
            return ""  # drawn again meanwhile

    def complaints(self) -> list[str]:
        """Return the errors of the page since the last call."""
        entries = self._send("POST", "/se/log", {"type": "browser"})
        return [entry["message"] for entry in entries if entry["level"] in ("SEVERE", "WARNING")]

    def picture(self) -> bytes:
        """Return the page as PNG."""
        return base64.b64decode(self._send("GET", "/screenshot"))

    def close(self) -> None:
        """End the browser."""
        self._send("DELETE", "")

    def _find(self, selector: str) -> str:
        return str(self._send("POST", "/element", {"using": "css selector", "value": selector})[_ELEMENT])

    def _send(self, method: str, path: str, members: dict[str, Any] | None = None) -> Any:
        body = None if members is None else json.dumps(members).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self._base}{path}", body, headers, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=PATIENCE) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            with error:
                value = json.load(error)["value"]
            raise DriverError(f"{value['error']}: {value['message']}") from error


@contextmanager
def browsing(folder: Path, *flags: str) -> Iterator[Browser]:
    """Start a browser with an empty profile in `folder`; it ends with the block."""
    programs = {name: need(name, package) for name, package in PACKAGES.items()}
    port = free_port()
    with subprocess.Popen(
        [programs["chromedriver"], f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as driver:
        try:
            wait_for("chromedriver", lambda: _is_ready(port))
            browser = Browser(port, folder / "profile", programs["chromium"], *flags)
            try:
                yield browser
            finally:
                browser.close()
        finally:
            driver.terminate()


@contextmanager
def page_of(content: str) -> Iterator[str]:
    """Serve a page from an origin of its own; yields its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(content.encode())

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - as above
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


def _is_ready(port: int) -> bool:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/status", timeout=PATIENCE) as answer:
        return bool(json.load(answer)["value"]["ready"])
