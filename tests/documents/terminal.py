"""A terminal on which a document's commands are typed, in a folder of their own and on ports of their own.

Commands that need a cluster are rewritten into what can be run here: `helm install` renders instead, and `kubectl exec`
runs its command next to the sidecar.
"""

import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from sidecar.commands.demo.environment import free_port
from tests.support import programs
from tests.support.processes import environment
from tests.support.reading import ROOT, Block, Command, pattern
from tests.support.rendering import NEWEST, provide_helm
from tests.support.tools import PATIENCE, need

TOOLS = {
    "curl": "curl",
    "java": "default-jdk-headless",
    "node": "nodejs",
}
"""The programs of the documents that only a Debian package brings, each with its package."""
PORTS = ("8787", "8788", "8789", "8797", "8798", "8790")
"""The ports in the documents: the API's, the probes', the emulator's; then those of the contract price's example."""
NOT_RUN = {
    "aws": "there is no account here; the SDK's model judges what is handed to it",
    "make": "the target is looked up; what it runs has tests of its own, and would install packages here",
    "kubectl": "there is no cluster here; tests/cluster has one. The words are split as a shell does it",
}
"""Programs that are not run, with the reason."""
_INSTALLED = (
    "--values seller.yaml --set-file sidecar.config.product.public_keys.1=1.pem"
    " --set sidecar.serviceAccount.roleArn=arn:aws:iam::111122223333:role/acme-metering"
)
"""What an upgrade reuses: the values with which the seller's document installs."""
_EXEC = re.compile(r"^kubectl .*?\bexec\b.*? -- ")
_READING = re.compile(
    r"^(curl -s (?!.* (-d|--json) )|marketplace-sidecar (status|ledger (status|records|verify)|healthcheck))"
)
_PAUSE = 0.1


class Terminal:
    """Types commands; what was started in the background ends with it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ports = {port: str(free_port()) for port in PORTS}
        self._background: list[subprocess.Popen[bytes]] = []
        self._variables: dict[str, str] = {}
        programs = folder / "bin"
        programs.mkdir()
        for name, installed in (("marketplace-sidecar", f"{sys.executable} -m sidecar"), ("python", sys.executable)):
            own = programs / name
            own.write_text(f'#!/bin/sh\nexec {installed} "$@"\n', encoding="ascii")
            own.chmod(0o755)
        self._path = f"{programs}:{os.environ.get('PATH', '')}"
        (folder / "helm").symlink_to(ROOT / "helm")
        (folder / "docs").symlink_to(ROOT / "docs")

    def write(self, block: Block) -> None:
        """Write the file that a block shows."""
        (self.folder / str(block.name)).write_text(self._here(block.text), encoding="utf-8")

    def type(self, command: Command) -> None:
        """Run a command; it must end well and print what the document states."""
        text = self._runnable(command.text)
        program, *arguments = shlex.split(text)
        if program in NOT_RUN:
            if program == "make":
                subprocess.run(["make", "--dry-run", *arguments], cwd=ROOT, check=True, capture_output=True)
        elif text.startswith("export "):
            self._variables |= dict(re.findall(r"(\w+)=(\S+)", text))
        elif text.endswith(" &"):
            self._start(text, command)
        else:
            self._run(text, command)

    def close(self) -> None:
        """End what still runs."""
        for process in reversed(self._background):
            process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _run(self, text: str, command: Command) -> None:
        again = _READING.match(command.text) is not None
        deadline = time.monotonic() + PATIENCE
        while True:
            done = subprocess.run(
                ["bash", "-c", text],
                cwd=self.folder,
                env=self._environment(),
                capture_output=True,
                text=True,
                check=False,
                timeout=PATIENCE,
            )
            shown = done.stdout + done.stderr
            # A chart is rendered instead of installed, so what is printed is not what the document may show.
            rendered = command.text.startswith("helm ")
            agrees = rendered or self._agrees(shown if command.output else done.stdout, command)
            if done.returncode == 0 and agrees:
                return
            if not again or time.monotonic() > deadline:
                break
            # What is read may be on its way: a reader of the document asks once more, too.
            time.sleep(_PAUSE)
        raise AssertionError(self._told(command, f"ended with {done.returncode} and printed\n{shown}"))

    def _start(self, text: str, command: Command) -> None:
        log = self.folder / f"background-{len(self._background)}.log"
        with log.open("wb") as output:
            arguments = ["bash", "-c", f"exec {text.removesuffix('&')}"]
            process = subprocess.Popen(
                arguments,
                cwd=self.folder,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        self._background.append(process)
        deadline = time.monotonic() + PATIENCE
        while pattern(self._here(command.output)).match(log.read_text(encoding="utf-8")) is None:
            if process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(self._told(command, f"printed\n{log.read_text(encoding='utf-8')}"))
            time.sleep(_PAUSE)

    def _agrees(self, shown: str, command: Command) -> bool:
        return pattern(self._here(command.output)).fullmatch(f"{shown.strip()}\n" if shown.strip() else "") is not None

    def _runnable(self, text: str) -> str:
        text = _EXEC.sub("", text).replace("python -m sidecar", "marketplace-sidecar")
        if text.startswith("helm "):
            text = re.sub(r"^helm (install|upgrade)", f"{provide_helm()} template --kube-version {NEWEST}", text)
            text = text.replace("--reuse-values", _INSTALLED)
        for program, package in TOOLS.items():
            if re.search(rf"(^|\| |; ){program} ", text) is not None:
                need(program, package)
        if text.startswith("go "):
            self._path = f"{self._path}:{Path(programs.find_go(programs.report)).parent}"
        return self._here(text)

    def _here(self, text: str) -> str:
        for port, own in self._ports.items():
            text = re.sub(rf"\b{port}\b", own, text)
        return text

    def _environment(self) -> Mapping[str, str]:
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        go = {"GOCACHE": str(self.folder / "go"), "GOFLAGS": "-mod=mod", "GOTOOLCHAIN": "local", "GOPROXY": "off"}
        return environment(**{**go, "HOME": str(home), "PATH": self._path, **self._variables})

    def _told(self, command: Command, happened: str) -> str:
        logs = "\n".join(path.read_text(encoding="utf-8")[-3000:] for path in self.folder.glob("background-*.log"))
        return f"the block at line {command.line}: `{command.text}` {happened}\n--- background ---\n{logs}"
