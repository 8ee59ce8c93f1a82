"""What a hostile client can cost a running sidecar: neither its memory nor its answers to others."""

import gzip
import json
import re
import threading
from collections.abc import Callable
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from resource import RLIMIT_NOFILE, prlimit
from typing import TYPE_CHECKING

import pytest

from sidecar.adapters.http.items import MOST_ITEMS
from sidecar.commands.demo.environment import wait_for
from tests.process.walls import JSON, Cost, answers, connections, keep_alive, post_bytes, push
from tests.support.reading import ROOT

if TYPE_CHECKING:
    from tests.support.processes import Ask, Reply, Site

pytestmark = pytest.mark.process

PROBE_LIMIT = 60
"""MiB that attacks on the probe port may cost."""
API_LIMIT = 100
"""MiB that bodies, and pages of counters, may cost."""
BODY = 8 * 1024 * 1024
IMAGE_MEMORY = dict(re.findall(r"(MALLOC_\w+)=(\d+)", (ROOT / "Dockerfile").read_text(encoding="utf-8")))
"""How the image allocates memory."""
HEAD = b"GET /metrics HTTP/1.1\r\nHost: pod\r\n"


def test_unfinished_heads_cost_little(site: "Site") -> None:
    """512 clients that never end their headers cost the probe port little, and a probe is answered next to them."""
    sidecar = site.start()
    cost = Cost(sidecar.process.pid)
    with connections(sidecar.probes) as attackers:
        for number in range(64):
            header = b"X-%d: %s\r\n" % (number, b"a" * 8000)
            for one in attackers:
                push(one, (HEAD if number == 0 else b"") + header)
            if number % 16 == 0:
                assert 200 == answers(sidecar.probes)
        assert 200 == answers(sidecar.probes)
    assert cost.mebibytes < PROBE_LIMIT


def test_idle_connections_give_way(site: "Site") -> None:
    """512 idle connections keep no probe out: the oldest of them goes."""
    sidecar = site.start_entitled()
    cost = Cost(sidecar.process.pid)
    with connections(sidecar.probes):
        assert [200] * 4 == [answers(sidecar.probes, path) for path in ("/livez", "/readyz", "/startupz", "/metrics")]
    assert cost.mebibytes < PROBE_LIMIT


def test_clients_that_never_read_are_cut(site: "Site") -> None:
    """512 clients that ask and never read cost little, hold up no probe, and are gone by themselves."""
    sidecar = site.start()
    cost = Cost(sidecar.process.pid)
    with connections(sidecar.probes, window=1024) as attackers:
        for one in attackers:
            push(one, (HEAD + b"\r\n") * 64)
        assert 200 == answers(sidecar.probes)
        wait_for("the end of all", lambda: all(not push(one, b"x") for one in attackers))
    assert 200 == answers(sidecar.probes, "/metrics")
    assert cost.mebibytes < PROBE_LIMIT


def test_slow_senders_are_cut(site: "Site") -> None:
    """512 clients that send a byte at a time keep no probe out, and no byte prolongs their time."""
    sidecar = site.start()
    cost = Cost(sidecar.process.pid)
    with connections(sidecar.probes) as attackers:
        assert 200 == answers(sidecar.probes)
        wait_for("the end of all", lambda: all(not push(one, b"a") for one in attackers))
    assert 200 == answers(sidecar.probes)
    assert cost.mebibytes < PROBE_LIMIT


def test_storm_of_connections_is_weathered(site: "Site") -> None:
    """Probes are answered while others open and close connections as fast as they can."""
    sidecar = site.start()
    cost = Cost(sidecar.process.pid)
    over = threading.Event()

    def storm() -> None:
        while not over.is_set():
            with connections(sidecar.probes, 32):
                pass

    storming = threading.Thread(target=storm)
    storming.start()
    try:
        assert [200] * 30 == [answers(sidecar.probes) for _ in range(30)]
    finally:
        over.set()
        storming.join()
    assert cost.mebibytes < PROBE_LIMIT


POLL = b"GET /v1/entitlement?wait=5m HTTP/1.1\r\nHost: localhost\r\n\r\n"


def test_long_polls_leave_room_at_the_api(site: "Site") -> None:
    """700 long polls, sent again when refused, keep out neither usage nor a probe; usage keeps its connection."""
    sidecar = site.start_entitled()
    cost = Cost(sidecar.process.pid)
    with ExitStack() as stack, keep_alive(sidecar.api) as usage:
        for _ in range(7):
            for one in stack.enter_context(connections(sidecar.api, 100)):
                push(one, POLL)
            assert 202 == usage()
            assert 200 == answers(sidecar.api, "/v1/entitlement")
            assert 200 == answers(sidecar.probes, "/readyz")
    assert cost.mebibytes < PROBE_LIMIT


def test_bodies_behind_polls_cost_little(site: "Site") -> None:
    """150 long polls with a body, and more bodies behind each, cost little and keep out neither usage nor a probe."""
    sidecar = site.start_entitled()
    cost = Cost(sidecar.process.pid)
    head = b"Host: localhost\r\nContent-Type: application/json\r\nContent-Length: 500000\r\n\r\n" + b" " * 500_000
    with connections(sidecar.api, 150) as attackers:
        for start in (POLL.split(b"Host")[0], *[b"POST /v1/usage HTTP/1.1\r\n"] * 5):
            for one in attackers:
                push(one, start + head)
        assert 202 == post_bytes(sidecar.api, b'{"dimension": "requests"}').status
        assert 200 == answers(sidecar.probes, "/readyz")
    assert cost.mebibytes < PROBE_LIMIT


def test_heads_behind_polls_cost_little(site: "Site") -> None:
    """A report in 200 chunks, a long poll, and hundreds of small requests: 150 such clients cost little."""
    sidecar = site.start_entitled()
    cost = Cost(sidecar.process.pid)
    event = b'{"dimension":"requests"}'
    chunks = b"18\r\n" + event + b"\r\n" + b"1\r\n \r\n" * 199 + b"0\r\n\r\n"
    head = b"Host: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    small = b"GET /v1/entitlement HTTP/1.1\r\nHost: localhost\r\n" + b"a:\r\n" * 94 + b"\r\n"
    with connections(sidecar.api, 150) as attackers:
        for one in attackers:
            push(one, b"POST /v1/usage HTTP/1.1\r\n" + head + chunks + POLL + small * 140)
        assert 202 == post_bytes(sidecar.api, event).status
        assert 200 == answers(sidecar.probes, "/readyz")
    assert cost.mebibytes < PROBE_LIMIT


def test_clients_that_never_read_leave_room_at_the_api(site: "Site") -> None:
    """512 clients that ask and never read keep out neither usage nor a probe."""
    sidecar = site.start_entitled()
    with connections(sidecar.api, window=1024) as attackers:
        for one in attackers:
            push(one, b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 32)
        with keep_alive(sidecar.api) as usage:
            assert [202] * 3 == [usage() for _ in range(3)]
        assert 200 == answers(sidecar.probes, "/readyz")


def test_long_answers_cost_little(site: "Site") -> None:
    """100 clients that ask for an answer of 1.2 MB and do not read it cost little; one that reads gets it whole."""
    sidecar = site.start_entitled(variables=IMAGE_MEMORY)
    tags = [{f"Key{key}": f"{number:05}" + "v" * 200 for key in range(5)} for number in range(1000)]
    report = json.dumps([{"dimension": "requests", "tags": each} for each in tags]).encode()
    assert 202 == post_bytes(sidecar.api, report).status
    cost = Cost(sidecar.process.pid)
    with connections(sidecar.api, 100, window=1024) as attackers:
        for one in attackers:
            one.sendall(b"GET /v1/usage HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert b"HTTP/1.1 200" == one.recv(12)
        assert 1000 == len(sidecar.get("/v1/usage")["buckets"])
    assert cost.mebibytes < API_LIMIT


def test_unfinished_heads_at_the_api(site: "Site") -> None:
    """On the API, too, a head that does not end is refused, while 8 KiB of baggage pass."""
    sidecar = site.start()
    cost = Cost(sidecar.process.pid)
    with connections(sidecar.api) as attackers:
        for number in range(64):
            header = b"X-%d: %s\r\n" % (number, b"a" * 8000)
            for one in attackers:
                push(one, (HEAD if number == 0 else b"") + header)
        assert 200 == answers(sidecar.api, "/v1/entitlement")
    assert cost.mebibytes < PROBE_LIMIT


def _worthless() -> dict[str, bytes]:
    return {
        "numbers": b"[" + b"1," * (BODY // 2 - 2) + b"1]",
        "objects": b"[" + b"{}," * (BODY // 3 - 2) + b"{}]",
        "one item": b"[[" + b"1," * (BODY // 2 - 4) + b"1]]",
        "nested": b"[" + (b"[" * 400 + b"]" * 400 + b",") * (BODY // 801 - 2) + b"1]",
        "wide characters": b'["\xf0\x9f\x98\x80"' + b",1" * (BODY // 2 - 10) + b"]",
        "lines": b"{}\n" * (BODY // 3),
        "bad lines": b"x\n" * (BODY // 2),
        "envelopes": b"[" + b"{}," * (BODY // 3 - 2) + b"{}]",
        "huge integer": b'[{"quantity": ' + b"1" * (BODY - 20) + b"}]",
        "members": b"[{" + b",".join(b'"%d":1' % number for number in range(700_000)) + b"}]",
        "valid but many": b"[" + b'{"dimension":"requests"},' * (BODY // 25 - 2) + b'{"dimension":"requests"}]',
    }


TYPES = {"lines": "application/x-ndjson", "bad lines": "application/x-ndjson"} | {
    "envelopes": "application/cloudevents-batch+json"
}


def _at_once(tasks: list[Callable[[], "Reply"]]) -> list["Reply"]:
    found: list[Reply | None] = [None] * len(tasks)

    def work(number: int) -> None:
        found[number] = tasks[number]()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(tasks))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [reply for reply in found if reply is not None]


def test_worthless_bodies_cost_little(site: "Site") -> None:
    """8 MiB of worthless items cost little memory and time, whatever their shape, and hold up no probe."""
    sidecar = site.start()
    cost = Cost(sidecar.process.pid)
    for name, body in _worthless().items():
        before = cost.cpu_seconds
        reply = post_bytes(sidecar.api, body, TYPES.get(name, JSON))
        assert (name, reply.status) in {(name, status) for status in (400, 413, 422)}
        assert cost.cpu_seconds - before < 2, name
        assert 200 == answers(sidecar.probes)
    assert cost.mebibytes < API_LIMIT
    assert {} == sidecar.terms()


def test_large_batches_at_once(site: "Site") -> None:
    """Three valid batches of 8 MB, sent together, are counted once each within the memory; probes stay answered."""
    sidecar = site.start()
    tags = {f"Key{number}": "v" * 90 for number in range(5)}
    batches = [
        json.dumps(
            [
                {"id": f"{batch}-{number}-{'x' * 200}", "dimension": "requests", "tags": tags}
                for number in range(MOST_ITEMS)
            ]
        ).encode()
        for batch in range(3)
    ]
    assert all(7_500_000 < len(body) <= BODY for body in batches)
    cost = Cost(sidecar.process.pid)
    posts = [lambda body=body: post_bytes(sidecar.api, body) for body in batches]
    probes = [lambda: sidecar.probe("livez")] * 5
    replies = _at_once([*posts, *probes])
    assert [202] * 3 + [200] * 5 == [reply.status for reply in replies]
    assert cost.mebibytes < API_LIMIT
    assert {"accepted": "30000", "open": "30000"} == sidecar.terms()


class _Page(BaseHTTPRequestHandler):
    """A page of 16 MiB, packed, of which a text would take four times as many bytes."""

    body = gzip.compress(b"# HELP served_total \xf0\x9f\x98\x80" + b"x" * (16 * 2**20 - 100) + b"\nserved_total 1\n")

    def do_GET(self) -> None:
        """Answer with the page."""
        self.send_response(200)
        self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *arguments: object) -> None:
        """Be silent."""


def test_pages_of_many_dimensions_cost_little(site: "Site") -> None:
    """24 dimensions of one large page, and one of another, cost the memory of one page."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Page) as app:
        serving = threading.Thread(target=app.serve_forever)
        serving.start()
        try:
            dimensions = [
                {"name": f"d{number}", "source": {"prometheus": {"url": url, "metric": "served_total"}}}
                for number in range(24)
                for url in (f"http://127.0.0.1:{app.server_port}/{number // 23}",)
            ]
            sidecar = site.start(metering={"dimensions": dimensions})
            cost = Cost(sidecar.process.pid)
            sidecar.await_for(
                "samples of all",
                lambda: {"measuring"} == {source["state"] for source in sidecar.get("/v1/status")["sources"]},
            )
        finally:
            app.shutdown()
            serving.join()
    assert cost.mebibytes < API_LIMIT


def test_large_attestation_refused(site: "Site", ask: "Ask") -> None:
    """A nonce needs no large body, so one is refused before it is decoded."""
    sidecar = site.start_entitled()
    reply = ask(sidecar.api, "POST", "/v1/attestations", [1] * 100_000)
    assert (413, True) == (reply.status, reply.document["type"].endswith("too-large"))


def test_descriptors_run_out_quietly(site: "Site") -> None:
    """Without free descriptors there is one line, no flood; probes come back with the descriptors."""
    sidecar = site.start_entitled()
    limits = prlimit(sidecar.process.pid, RLIMIT_NOFILE)
    with connections(sidecar.api, 10) as first:
        for one in first:
            one.sendall(b"GET /v1/entitlement HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert b"HTTP/1.1 200" == one.recv(12)
        prlimit(sidecar.process.pid, RLIMIT_NOFILE, (16, limits[1]))
        with connections(sidecar.api, 40):
            assert "Too many open files" == sidecar.await_event("descriptors.exhausted")["detail"]
    prlimit(sidecar.process.pid, RLIMIT_NOFILE, limits)
    assert sidecar.await_event("descriptors.recovered")["attempts"] >= 1
    assert 200 == answers(sidecar.probes, "/readyz")
    assert 1 == len(sidecar.events("descriptors.exhausted"))
    assert "socket.accept()" not in sidecar.log
    assert "Traceback" not in sidecar.log
