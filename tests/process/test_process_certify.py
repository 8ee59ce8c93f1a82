"""`certify` as a real process: what it sends, what it leaves in the report, and how it continues after any end."""

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sidecar.commands.demo.environment import free_port, wait_for
from tests.support.identity import KEYS
from tests.support.processes import environment, launch_emulator
from tests.support.tools import PATIENCE

if TYPE_CHECKING:
    from tests.support.processes import Emulator, Site, Sites

pytestmark = pytest.mark.process

HOUR, BEFORE = "2026-11-23T10:00:00Z", "2026-11-23T09:00:00Z"
PRODUCT: dict[str, Any] = {"metering": {"dimensions": [{"name": "requests"}, {"name": "gigabytes"}]}}
ONE_EACH = {(HOUR, "requests"): "1", (HOUR, "gigabytes"): "1"}
SELLER = {"AWS_ACCESS_KEY_ID": "seller", "AWS_SECRET_ACCESS_KEY": "any"}


@dataclass
class Certification:
    """The command on one product, with a report of its own."""

    site: "Site"
    report: Path

    def command(self, *arguments: str, **changes: Any) -> list[str]:
        """Return the command line; the changes are to the configuration."""
        config = self.site.write("certify.yaml", **{**PRODUCT, **changes})
        program = [sys.executable, "-m", "sidecar", "certify"]
        return [*program, "--config", str(config), "--report", str(self.report), *arguments]

    def run(
        self, *arguments: str, variables: dict[str, str] | None = None, **changes: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run it to its end, without a terminal."""
        return subprocess.run(
            self.command(*arguments, **changes),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            env=environment(**{**SELLER, **(variables or {})}),
            timeout=PATIENCE,
        )

    def type(self, answer: str | None) -> tuple[int, str]:
        """Run it on a terminal and type an answer to its question, or interrupt it; exit code and what was shown."""
        ours, theirs = pty.openpty()
        with subprocess.Popen(
            self.command(), stdin=theirs, stdout=theirs, stderr=theirs, env=environment(**SELLER)
        ) as process:
            os.close(theirs)
            shown = read_until(ours, "Type yes to send it: ")
            if answer is None:
                wait_for("the read of the answer", lambda: reads_standard_input(process.pid))
                process.send_signal(signal.SIGINT)
            else:
                os.write(ours, answer.encode())
            shown += read_until(ours, None)
            os.close(ours)
            return process.wait(PATIENCE), shown

    @property
    def document(self) -> Any:
        """The report as it stands."""
        return json.loads(self.report.read_text())

    def frozen(self) -> list[Any]:
        """Return the requests that may have been sent."""
        if not self.report.exists():
            return []
        return [record["request"] for record in self.document["records"] if record["request"] is not None]


def read_until(terminal: int, text: str | None) -> str:
    """Return what a terminal shows, up to a text, or up to its end."""
    shown = ""
    deadline = time.monotonic() + PATIENCE
    while text is None or text not in shown:
        if not select.select([terminal], [], [], max(deadline - time.monotonic(), 0))[0]:
            raise AssertionError(f"the terminal shows only {shown!r}")
        try:
            part = os.read(terminal, 4096)
        except OSError:  # what Linux says once the other side is closed
            part = b""
        if not part:
            break
        shown += part.decode()
    return shown


def reads_standard_input(pid: int) -> bool:
    """Return whether a process waits for standard input.

    Python notices a signal that arrives just before such a system call only when the call returns.
    """
    call = Path(f"/proc/{pid}/syscall").read_text(encoding="ascii").split()
    return call[1:2] == ["0x0"]


def outcomes(document: Any) -> list[Any]:
    """Return what AWS said to the registration and to each record."""
    return [each["outcome"] for each in (document["registration"], *document["records"])]


@pytest.fixture(name="certification")
def _certification(site: "Site", tmp_path: Path) -> Certification:
    """A certification that has not begun."""
    return Certification(site, tmp_path / "certify.json")


def after_dry_runs(emulator: "Emulator", fault: str, count: int = 1_000_000) -> None:
    """Let the records go wrong that follow the two dry runs."""
    emulator.order("MeterUsage", "dry-run-success", 2)
    emulator.order("MeterUsage", fault, count)


def clear(emulator: "Emulator", fault: str) -> None:
    """Withdraw a fault, and what is left of the plain dry runs."""
    emulator.order("MeterUsage", "dry-run-success", 0)
    emulator.order("MeterUsage", fault, 0)


def test_one_record_for_each_dimension(certification: Certification, emulator: "Emulator") -> None:
    """AWS gets one registration and one record for each dimension; the report names which; again sends nothing."""
    done = certification.run("--yes")

    assert (0, ONE_EACH) == (done.returncode, emulator.held())
    document = certification.document
    assert ("passed", "0abc123example") == (document["verdict"], document["registration"]["claims"]["productCode"])
    held = {record["UsageDimension"]: record for record in emulator.get("records")["records"]}
    for record in document["records"]:
        theirs = held[record["dimension"]]
        assert record["metering_record_id"] == theirs["MeteringRecordId"]
        assert record["request"]["client_token"] == theirs["ClientToken"]
    assert "arn:aws:iam::111122223333:user/seller" == document["subject"]["caller"]
    last = done.stdout.splitlines()[-1]
    assert last.startswith("passed: The emulator took every call. That proves nothing to AWS")
    for secret in ("nonce", "signature", "eyJ"):
        assert secret not in certification.report.read_text()
    calls = len(emulator.get("events")["Records"])
    assert 0 == certification.run("--yes").returncode
    assert 0 == len([call for call in emulator.get("events")["Records"][calls:] if "Usage" in call["eventName"]])


def test_dry_run_meters_nothing(certification: Certification, emulator: "Emulator") -> None:
    """After the dry runs alone nothing is registered or metered; the real round continues from there."""
    assert 0 == certification.run("--dry-run").returncode
    assert ({}, []) == (emulator.held(), emulator.calls("RegisterUsage"))
    assert "incomplete" == certification.document["verdict"]
    assert 0 == certification.run("--yes").returncode
    assert ONE_EACH == emulator.held()


def test_json_is_the_report(certification: Certification) -> None:
    """--json prints the document that is in the file."""
    assert json.loads(certification.run("--yes", "--json").stdout) == certification.document


@pytest.mark.unmeasured
@pytest.mark.parametrize("answer", ["no\n", "\n", "y\n", "YES\n", "\x04"])
def test_only_yes_sends(certification: Certification, emulator: "Emulator", answer: str) -> None:
    """Whatever is not exactly yes sends nothing."""
    code, shown = certification.type(answer)
    assert (1, True) == (code, "Nothing was sent." in shown)
    assert ({}, []) == (emulator.held(), emulator.calls("RegisterUsage"))


def test_question_tells_all(certification: Certification, emulator: "Emulator") -> None:
    """The question names product, account, Region, each dimension and who pays; yes sends."""
    code, shown = certification.type("yes\n")
    question = shown[: shown.index("Type yes")]
    for words in ("0abc123example", "111122223333", "us-east-1", "requests", "gigabytes", "record of 1", "billed"):
        assert words in question
    assert (0, ONE_EACH) == (code, emulator.held())


def test_interrupt_sends_nothing(certification: Certification, emulator: "Emulator") -> None:
    """An interrupt at the question ends it immediately."""
    code, _ = certification.type(None)
    assert (130, {}, []) == (code, emulator.held(), emulator.calls("RegisterUsage"))


def test_not_beside_a_sidecar(certification: Certification, site: "Site", emulator: "Emulator") -> None:
    """Where a sidecar answers, and where one has the ledger, nothing is sent: the slot is the app's."""
    sidecar = site.start_entitled(api={"port": free_port()}, **PRODUCT)
    before = len(emulator.get("events")["Records"])

    answering = certification.run("--yes", api={"port": sidecar.api})
    locked = certification.run("--yes")

    assert (1, True) == (answering.returncode, "A sidecar answers at 127.0.0.1" in answering.stderr)
    assert (1, True) == (locked.returncode, "another sidecar is using it" in locked.stderr)
    assert len(emulator.get("events")["Records"]) == before
    assert not certification.report.exists()


def test_not_beside_a_socket(certification: Certification, site: "Site") -> None:
    """A sidecar that answers on its unix socket is found, too."""
    path = site.folder / "api.sock"
    site.start(api={"socket": str(path)})
    done = certification.run("--yes", api={"socket": str(path)}, ledger={"path": str(site.folder / "other.db")})
    assert (1, True) == (done.returncode, f"A sidecar answers at {path}" in done.stderr)


@pytest.mark.unmeasured
@pytest.mark.parametrize(
    ("lived_as", "certify_as", "words"),
    [
        ({}, {}, "holds usage that has not been submitted yet"),
        ({"POD_UID": "pod-1"}, {"POD_UID": "pod-1"}, "A sidecar has run in this pod"),
        ({"POD_UID": "pod-1"}, {"POD_UID": "pod-2"}, None),
    ],
)
def test_not_on_this_pods_usage(
    certification: Certification,
    site: "Site",
    emulator: "Emulator",
    lived_as: dict[str, str],
    certify_as: dict[str, str],
    words: str | None,
) -> None:
    """Usage of this pod on the ledger waits for its slots; that of another pod is none of them."""
    sidecar = site.start_entitled(variables=lived_as, **PRODUCT)
    sidecar.report({"dimension": "requests", "quantity": "2"})
    sidecar.kill()

    done = certification.run("--yes", variables=certify_as)

    if words is None:
        assert (0, ONE_EACH) == (done.returncode, emulator.held())
    else:
        assert (1, True, {}) == (done.returncode, words in done.stderr, emulator.held())


def test_sidecar_waits_for_certification(certification: Certification, site: "Site", emulator: "Emulator") -> None:
    """As long as it works on a ledger's place, no sidecar begins there."""
    site.start_entitled(variables={"POD_UID": "pod-1"}, **PRODUCT).kill()
    after_dry_runs(emulator, "timeout")
    running = subprocess.Popen(
        certification.command("--yes"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment(**SELLER, POD_UID="pod-2"),
    )
    try:
        wait_for("a frozen request", certification.frozen)
        code, log = site.refuse(POD_UID="pod-3")
    finally:
        running.kill()
        running.wait()
    assert (4, True) == (code, "another sidecar is using it" in log)


@pytest.mark.unmeasured
def test_foreign_file_is_kept(certification: Certification, emulator: "Emulator", tmp_path: Path) -> None:
    """A file that is no report is left as it is, to the byte, and nothing is sent."""
    for content in (b"", b"my only copy", b"{}", b'{"format": "marketplace-sidecar certification 1"}', b"\xff\xfe"):
        certification.report.write_bytes(content)
        done = certification.run("--yes")
        assert (2, True) == (done.returncode, "is not a report" in done.stderr)
        assert certification.report.read_bytes() == content
    certification.report.unlink()
    precious = tmp_path / "precious"
    certification.report.symlink_to(precious)
    assert 2 == certification.run("--yes").returncode
    certification.report.unlink()
    certification.report.mkdir()
    assert 2 == certification.run("--yes").returncode
    assert (False, [], {}) == (precious.exists(), emulator.calls("RegisterUsage"), emulator.held())


@pytest.mark.unmeasured
@pytest.mark.parametrize(
    ("arguments", "variables", "changes", "name"),
    [
        ((), {"AWS_ACCESS_KEY_ID": "somebody-else"}, {}, "caller"),
        ((), {"POD_UID": "pod-2"}, {}, "pod"),
        ((), {"AWS_REGION": "eu-west-1"}, {}, "region"),
        (("--quantity", "2"), {}, {}, "quantity"),
        ((), {}, {"product": {"code": "other"}}, "product_code"),
        ((), {}, {"metering": {"dimensions": [{"name": "requests"}]}}, "dimensions"),
        ((), {}, {"entitlement": {"check": "meter"}}, "check"),
    ],
)
def test_foreign_report_is_refused(
    certification: Certification,
    emulator: "Emulator",
    arguments: tuple[str, ...],
    variables: dict[str, str],
    changes: dict[str, Any],
    name: str,
) -> None:
    """A report is gone on with only by the same pod, for the same product."""
    assert 0 == certification.run("--dry-run").returncode
    before = certification.report.read_bytes()
    done = certification.run("--yes", *arguments, variables=variables, **changes)
    assert (2, True) == (done.returncode, f"its {name} is" in done.stderr)
    assert (certification.report.read_bytes(), emulator.held()) == (before, {})


def test_full_disk_is_told_first(certification: Certification, emulator: "Emulator") -> None:
    """Where the report does not fit nothing is sent."""
    limited = ["bash", "-c", 'ulimit -f 0; exec "$0" "$@"', *certification.command("--yes")]
    done = subprocess.run(
        limited,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        env={name: value for name, value in environment(**SELLER).items() if not name.startswith("COVERAGE_")},
        timeout=PATIENCE,
    )
    assert (2, True) == (done.returncode, "cannot be written, so nothing is sent" in done.stderr)
    assert ([], {}) == (emulator.calls("RegisterUsage"), emulator.held())


@pytest.mark.unmeasured
@pytest.mark.parametrize("fault", ["timeout", "drop-response"])
def test_kill_leaves_one_record(certification: Certification, emulator: "Emulator", fault: str) -> None:
    """Killed between the freezing and the answer, the next run sends the very same: one record, whatever AWS had."""
    after_dry_runs(emulator, fault)
    running = subprocess.Popen(
        certification.command("--yes"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment(**SELLER),
    )
    wait_for("a frozen request", certification.frozen)
    if fault == "drop-response":
        wait_for("AWS to hold it", emulator.held)
    running.kill()
    running.wait()
    (frozen,) = certification.frozen()
    clear(emulator, fault)
    emulator.post("clock", advance="2h")

    assert 0 == certification.run("--yes").returncode

    assert certification.frozen()[0] == frozen
    held = emulator.get("records")["records"]
    assert [
        ("gigabytes", "1"),
        ("requests", "1"),
    ] == sorted((record["UsageDimension"], record["UsageQuantity"]) for record in held)
    (first,) = [record for record in held if record["UsageDimension"] == "requests"]
    assert (first["Timestamp"], first["ClientToken"]) == (HOUR, frozen["client_token"])


def test_lost_answers_are_gone_on_with(certification: Certification, emulator: "Emulator") -> None:
    """A record without an answer stays open, and is asked about again with its own token until there is one."""
    after_dry_runs(emulator, "drop-response")
    done = certification.run("--yes", "--retry-for", "0s")
    assert (1, "incomplete") == (done.returncode, certification.document["verdict"])
    assert ["accepted", None, None] == outcomes(certification.document)
    assert 1 == len(certification.frozen())
    clear(emulator, "drop-response")

    assert 0 == certification.run("--yes").returncode
    assert ONE_EACH == emulator.held()


@pytest.mark.unmeasured
@pytest.mark.parametrize("fault", ["throttle", "internal", "drop-response"])
def test_passing_faults_are_sat_out(certification: Certification, emulator: "Emulator", fault: str) -> None:
    """Throttling, faults of the service and one lost answer are repeated, and leave one record."""
    after_dry_runs(emulator, fault, 1)
    assert 0 == certification.run("--yes").returncode
    assert ONE_EACH == emulator.held()


def test_refusal_after_lost_answer_says_so(certification: Certification, emulator: "Emulator") -> None:
    """A record that is refused after an attempt without proof is reported as one that AWS may hold."""
    after_dry_runs(emulator, "internal-taken", 1)
    emulator.order("MeterUsage", "InvalidUsageDimension", 1)
    assert 1 == certification.run("--yes").returncode
    (refused,) = [record for record in certification.document["records"] if record["outcome"] == "refused"]
    assert "AWS may hold this record" in refused["cure"]
    assert emulator.held()


def test_denied_dry_run_ends_it(certification: Certification, emulator: "Emulator") -> None:
    """Without the permission nothing is sent, and the cure is named."""
    emulator.order("MeterUsage", "access-denied")
    done = certification.run("--yes")
    assert (1, True) == (done.returncode, "Allow aws-marketplace:RegisterUsage" in done.stdout)
    assert ([], {}) == (emulator.calls("RegisterUsage"), emulator.held())
    assert "failed" == certification.document["verdict"]


def test_no_network_is_told(certification: Certification, emulator: "Emulator") -> None:
    """Without an answer the command reports that immediately, and begins no report."""
    nowhere = f"127.0.0.1:{free_port()}"
    done = certification.run("--yes", marketplace={"mode": "emulator", "endpoint_url": f"http://{nowhere}"})
    assert (1, True) == (done.returncode, nowhere in done.stderr), done.stderr
    assert not certification.report.exists()


@pytest.mark.unmeasured
@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("InvalidProductCode", "InvalidProductCodeException"),
        ("InvalidPublicKeyVersion", "InvalidPublicKeyVersionException"),
        ("CustomerNotEntitled", "Subscribe to the product"),
        ("PlatformNotSupported", "Run on Amazon EKS"),
        ("wrong-signature", "the signature is not valid"),
        ("wrong-nonce", "the signature is not valid"),
        ("wrong-product", "the signature is not valid"),
        ("old-iat", "the signature is not valid"),
        ("alg-none", "the signature is not valid"),
        ("hs256", "the signature is not valid"),
    ],
)
def test_refused_registration_ends_it(
    certification: Certification, emulator: "Emulator", fault: str, words: str
) -> None:
    """Without a registration that can be believed no record is sent; once it is right the same report continues."""
    emulator.order("RegisterUsage", fault, 1)
    done = certification.run("--yes")
    assert (1, True, {}) == (done.returncode, words in done.stdout, emulator.held())
    assert ["refused", None, None] == outcomes(certification.document)
    assert 0 == certification.run("--yes").returncode
    assert ONE_EACH == emulator.held()


def test_refused_dimension_lets_others_go_on(certification: Certification, emulator: "Emulator") -> None:
    """A dimension that the listing does not have is reported; the others are sent, and nothing is sent again."""
    after_dry_runs(emulator, "InvalidUsageDimension", 1)
    done = certification.run("--yes")
    assert (1, True) == (done.returncode, "InvalidUsageDimensionException" in done.stdout)
    assert ["accepted", "refused", "accepted"] == outcomes(certification.document)
    assert {(HOUR, "gigabytes"): "1"} == emulator.held()
    assert 1 == certification.run("--yes").returncode
    assert {(HOUR, "gigabytes"): "1"} == emulator.held()


def test_unsubscribed_record_stays_open(certification: Certification, emulator: "Emulator") -> None:
    """A product that only meters is refused without a subscription, and continues once there is one."""
    only_metered = {"entitlement": {"check": "meter"}}
    emulator.post("customers", action="unsubscribe")
    done = certification.run("--yes", **only_metered)
    assert (1, True) == (done.returncode, "Subscribe to the product" in done.stdout)
    emulator.post("customers", action="entitle")
    done = certification.run("--yes", **only_metered)
    assert (0, {**ONE_EACH, (BEFORE, "requests"): "0"}) == (done.returncode, emulator.held())
    findings = {each["question"]: each["outcome"] for each in certification.document["findings"]}
    assert {"zero-record-before-start": "accepted", "register-usage-of-custom-price": "accepted"} == findings
    assert "found out, zero-record-before-start: accepted." in done.stdout


@pytest.mark.process
def test_open_questions_are_answered(sites: "Sites", tmp_path: Path) -> None:
    """What AWS refuses is an answer, too: it is written down, and the certification passes."""
    seed = tmp_path / "seed.yaml"
    seed.write_text("product: {code: 0abc123example, pricing: custom}\n")
    emulator = launch_emulator(tmp_path / "emulator.log", "--from-first-call", "--seed-config", str(seed))
    try:
        emulator.begin()
        certification = Certification(sites.make(emulator), tmp_path / "certify.json")
        done = certification.run("--yes", product={"pricing": "custom", "public_keys": {}})
        errors = {each["question"]: each["error"].split(":")[0] for each in certification.document["findings"]}
    finally:
        emulator.kill()
    assert (0, ONE_EACH) == (done.returncode, {(HOUR, name): "1" for _, name in ONE_EACH})
    assert "TimestampOutOfBoundsException" in errors["zero-record-before-start"]
    assert "InvalidProductCodeException" in errors["register-usage-of-custom-price"]


def test_filled_slot_is_explained(certification: Certification, emulator: "Emulator", tmp_path: Path) -> None:
    """Another quantity for the same pod and hour is not taken; its meaning is reported, and the first one stays."""
    assert 0 == certification.run("--yes").returncode
    second = Certification(certification.site, tmp_path / "second.json")
    done = second.run("--yes", "--quantity", "2")
    assert (1, True) == (done.returncode, "AWS already holds another quantity for this pod" in done.stdout)
    assert ONE_EACH == emulator.held()


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({}, "The identity of this pod or task is unknown"),
        ({"POD_UID": "pod-1", **KEYS}, "AWS Marketplace does not accept this identity: static-keys"),
    ],
)
def test_live_needs_a_pod(certification: Certification, variables: dict[str, str], words: str) -> None:
    """At AWS itself it runs only as a pod or task that Marketplace takes records from."""
    live = {"mode": "live", "endpoint_url": None, "region": "us-east-1"}
    done = certification.run("--yes", variables=variables, marketplace=live)
    assert (1, True) == (done.returncode, words in done.stderr)


@pytest.mark.parametrize(("quantity", "kind", "held"), [("2.50", "decimal", "2.5"), ("3", "integer", "3")])
def test_quantity_is_sent(
    certification: Certification, emulator: "Emulator", quantity: str, kind: str, held: str
) -> None:
    """AWS gets exactly the quantity, in the product's kind."""
    metering = {**PRODUCT["metering"], "quantity": kind}
    assert 0 == certification.run("--yes", "--quantity", quantity, metering=metering).returncode
    assert set(emulator.held().values()) == {held}


def test_nothing_to_certify(certification: Certification) -> None:
    """A product that neither registers nor meters has nothing to send."""
    done = certification.run("--yes", entitlement={"check": "none"}, metering={"dimensions": []})
    assert (1, True) == (done.returncode, "there is nothing to certify" in done.stderr)


def test_one_at_a_time(certification: Certification, emulator: "Emulator") -> None:
    """A second certification next to the first is refused: both would freeze requests of their own."""
    after_dry_runs(emulator, "timeout")
    running = subprocess.Popen(
        certification.command("--yes"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment(**SELLER),
    )
    try:
        wait_for("a frozen request", certification.frozen)
        second = certification.run("--yes")
    finally:
        running.kill()
        running.wait()
    assert (2, True) == (second.returncode, "Another certification is using" in second.stderr)
