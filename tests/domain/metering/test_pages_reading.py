"""Pages of counters: what is read of them, what is skipped, and what makes a page no sample."""

import tracemalloc
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.parser import text_string_to_metric_families

from sidecar.domain.metering import pages
from sidecar.domain.metering.events import Tags
from sidecar.domain.metering.pages import MOST_SERIES, Page, PageReader, PageUnusable
from sidecar.domain.metering.series import SeriesSample, shortest
from sidecar.domain.metering.sources import Prometheus

SOURCE = Prometheus("http://127.0.0.1/metrics", "requests_total")
AT = 1_763_900_000_000_000
PAGE = """\
# HELP requests_total What is sold.
# TYPE requests_total counter
requests_total{code="200",tenant="a"} 7
requests_total{code="204",tenant="b"} 1.5e3
requests_total{code="500",tenant="a"} 2
requests_total_by_color{color="red"} NaN
other{tenant="a"} -1
process_start_time_seconds 1.7638e+09
"""


def read(text: str, source: Prometheus = SOURCE, *, openmetrics: bool = False) -> Page:
    """Return a page as a fresh reader reads it."""
    return PageReader(source).read(text.encode(), AT, openmetrics=openmetrics)


def shown(page: Page) -> list[tuple[Tags, Decimal, int | None]]:
    """Return tags, value and start of each sample."""
    return [(sample.tags, sample.value, sample.started_at) for sample in page.samples]


def values(text: str, source: Prometheus = SOURCE, *, openmetrics: bool = False) -> list[Decimal]:
    """Return the values of a page."""
    return [sample.value for sample in read(text, source, openmetrics=openmetrics).samples]


def test_lines_of_the_metric() -> None:
    """The lines of the metric are read, those of others are skipped, and the process's start is that of each series."""
    start = 1_763_800_000_000_000
    assert [((), Decimal(7), start), ((), Decimal(1500), start), ((), Decimal(2), start)] == shown(read(PAGE))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('requests_total{code="200"} 8', "8"),
        ('requests_total{code="200"} 0008', "8"),
        ('requests_total{code="200"}\t8', "8"),
        ('requests_total{code="200"}  8 ', "8"),
        ('requests_total{code="200"} 8 1763900000', "8"),
        ('requests_total{code="200"} 8 # {trace="7"} 1', "8"),
        ('requests_total{code="200"} 8.5', "8.5"),
        ('requests_total{code="200"} 8.0', "8"),
        ('requests_total{code="200"} 1.5e+06', "1500000"),
        ('requests_total{code="200"} 8.0 1763900000', "8"),
        ('requests_total{code="200"} -8.0', None),
        ('requests_total{code="200"} .0', "0"),
        ('requests_total{code="200"} 9007199254740993', "9007199254740992"),
        ('requests_total{code="200"} \u0668', None),
        ('requests_total{code="200"} -8', None),
        ('requests_total{code="200"} NaN', None),
        ('requests_total{code="200"} 8\nrequests_total{code="200"} 8', None),
    ],
)
def test_line_of_a_known_series(line: str, expected: str | None) -> None:
    """A series that was on the page before is read as one that was not."""
    reader = PageReader(SOURCE)
    (before,) = reader.read(b'requests_total{code="200"} 7\n', AT, openmetrics=False).samples
    text = f"{line}\n"
    if expected is None:
        for each in (reader, PageReader(SOURCE)):
            with pytest.raises(PageUnusable):
                each.read(text.encode(), AT, openmetrics=False)
    else:
        again = [reader.read(text.encode(), AT, openmetrics=False).samples for _ in range(2)]
        assert [[before._replace(value=Decimal(expected))]] * 2 == again
        assert read(text).samples == again[1]


@pytest.mark.parametrize("number", ["8", "8.0", "8e0", "0.8e1", "008"])
def test_whole_number_has_one_form(number: str) -> None:
    """A whole number is kept in one form, however the client writes it: values in that form are compared quickly."""
    assert ["8"] == [str(value) for value in values(f"requests_total {number}\n")]


def test_match_and_tags() -> None:
    """An expression matches a whole value, and labels become tags."""
    source = Prometheus("u", "requests_total", (("code", "2.."),), (("tenant", "Customer"),))
    found = [(tags, value) for tags, value, _ in shown(read(PAGE, source))]
    assert [((("Customer", "a"),), Decimal(7)), ((("Customer", "b"),), Decimal(1500))] == found


def test_folded_tags() -> None:
    """A label's value that is no valid tag leaves its series without tags; an empty or missing one is no tag."""
    source = Prometheus("u", "requests_total", (), (("tenant", "Customer"), ("plan", "Plan")))
    page = read(
        'requests_total{tenant="ä",plan="x"} 1\nrequests_total{tenant="",plan="x"} 2\nrequests_total 3\n', source
    )
    assert ([(), (("Plan", "x"),), ()], 1) == ([sample.tags for sample in page.samples], page.folded)


def test_newest_start_counts() -> None:
    """The start of a series is the newest of its own and the process's."""
    text = (
        '# TYPE requests counter\nrequests_total{a="1"} 7\nrequests_created{a="1"} 3.5\nrequests_total{a="2"} 8\n'
        'requests_created{a="2"} 1\nprocess_start_time_seconds 2\n# EOF\n'
    )
    assert [3_500_000, 2_000_000] == [sample.started_at for sample in read(text, openmetrics=True).samples]


@pytest.mark.parametrize("start", ["0", "-1", "NaN", "+Inf", "1e300", "x"])
def test_start_without_meaning(start: str) -> None:
    """A start time that no process has is none."""
    (sample,) = read(f"requests_total 7\nprocess_start_time_seconds {start}\n").samples
    assert sample.started_at is None


def test_start_of_several_processes() -> None:
    """Of several processes on one page none is known to be that of a counter."""
    starts = "".join(f'process_start_time_seconds{{worker="{each}"}} {each}\n' for each in (1, 2))
    (sample,) = read(f"requests_total 7\n{starts}").samples
    assert sample.started_at is None


def test_creation_of_a_count_with_total() -> None:
    """The name of a counter loses one suffix only, or its creation is not found."""
    text = "# TYPE order_count counter\norder_count_total 7\norder_count_created 3.5\n"
    reader = PageReader(Prometheus("http://127.0.0.1/metrics", "order_count_total"))
    (sample,) = reader.read(text.encode(), AT, openmetrics=False).samples
    assert 3_500_000 == sample.started_at


def test_exemplars_and_instants_are_ignored() -> None:
    """The instant and the exemplar of a line are skipped."""
    lines = ('requests_total{a="1"} 7 1763.5 # {trace_id="x"} 0.67 1763.1', "requests_total 8 # {} 1", "# EOF\n")
    text = "\n".join(("# TYPE requests counter", *lines))
    assert [Decimal(7), Decimal(8)] == values(text, openmetrics=True)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("requests_total 7", "is cut: its last line has no end"),
        ("requests_total NaN\n", "has a value that no counter has: requests_total NaN"),
        ("requests_total +Inf\n", "has a value that no counter has"),
        ("requests_total -1\n", "has a value that no counter has"),
        ("requests_total 0x10\n", "has a value that no counter has"),
        ("requests_total 1_0\n", "has a value that no counter has"),
        ('requests_total{a="1",b="2"} 1\nrequests_total{b="2",a="1",} 1\n', 'has a series twice: requests_total{b="2"'),
        ("process_start_time_seconds 1\nprocess_start_time_seconds 2\nrequests_total 1\n", "has a series twice"),
        ('requests_total{a="1} 1\n', "has a line that is not valid"),
        ('requests_total{a="1"\n', "has a line that is not valid"),
        ("requests_total\t\n", "has a line that is not valid"),
        ('requests_total{a="1"b="2"} 1\n', "has a line with labels that are not valid"),
        ('requests_total{a="1",a="2"} 1\n', "has a line with labels that are not valid"),
        ("# TYPE requests_total gauge\nrequests_total 1\n", "has requests_total as a gauge, which is no counter"),
        ("# TYPE requests gauge\nrequests_total 1\n", "has requests_total as a gauge, which is no counter"),
        (
            "".join(f'requests_total{{a="{n}"}} 1\n' for n in range(MOST_SERIES + 1)),
            f"has more than {MOST_SERIES} series",
        ),
    ],
    ids=lambda value: str(value)[:40],
)
def test_unusable_pages(text: str, words: str) -> None:
    """A page that could hide or invent usage is no sample."""
    with pytest.raises(PageUnusable) as refused:
        read(text)
    assert str(refused.value).startswith(words)


MANY = 60_000
"""Lines of a page that is read in little memory."""


@pytest.mark.parametrize(
    "text",
    [
        "requests_total 1\n" * MANY,
        "requests_total \n" * MANY,
        "process_start_time_seconds 1\n" * MANY,
        "requests_total 1\n" + "# TYPE \n" * MANY,
        "requests_total 1\n" + "".join(f"# TYPE c{number} counter\n" for number in range(MANY)),
        "# HELP other \U0001f600" + "x" * MANY * 10 + "\nrequests_total 1\n",
    ],
    ids=["twice", "invalid", "starts", "kinds", "other kinds", "wide characters"],
)
def test_memory_of_a_worthless_page(text: str) -> None:
    """Lines that make no series take no memory, however many they are."""
    body = text.encode()
    tracemalloc.start()
    try:
        with suppress(PageUnusable):
            PageReader(SOURCE).read(body, AT, openmetrics=False)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def test_many_series_that_are_not_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The meaning of a series is kept for the next page in bounds, and read again beyond them."""
    monkeypatch.setattr(pages, "_MOST_KNOWN", 2)
    lines = [f'requests_total{{code="{code}"}} 1\n' for code in (500, 501, 502, 200, 201)]
    reader = PageReader(Prometheus("u", "requests_total", (("code", "2.."),)))
    found = [reader.read("".join(lines).encode(), AT, openmetrics=False).samples for _ in range(2)]
    assert 2 == len(reader._known)
    assert [2, 2] == [len(samples) for samples in found]
    assert found[0] == found[1]


def test_too_many_start_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page with more start times than any app has is no sample."""
    monkeypatch.setattr(pages, "_MOST_STARTS", 2)
    text = "".join(f'requests_created{{a="{number}"}} 1\n' for number in range(3))
    with pytest.raises(PageUnusable, match="has more than 2 start times"):
        read(text)


def test_openmetrics_has_an_end() -> None:
    """An OpenMetrics page without its mark is cut."""
    with pytest.raises(PageUnusable, match="its last line is not `# EOF`"):
        read("requests_total 7\n", openmetrics=True)


@pytest.mark.parametrize(
    ("metric", "kind", "taken"),
    [
        ("size", None, False),
        ("size", "untyped", False),
        ("size", "counter", True),
        ("size_total", "unknown", True),
        ("seconds_count", "histogram", True),
        ("seconds_bucket", "histogram", True),
        ("seconds_sum", "histogram", False),
        ("seconds", "summary", False),
    ],
)
def test_only_counters(metric: str, kind: str | None, *, taken: bool) -> None:
    """Counters, and the counts of histograms, are taken; without a kind the name decides."""
    family = metric.rpartition("_")[0] if kind == "histogram" else metric
    head = "" if kind is None else f"# TYPE {family} {kind}\n"
    source = Prometheus("u", metric)
    if taken:
        assert [Decimal(7)] == values(f"{head}{metric} 7\n", source)
    else:
        with pytest.raises(PageUnusable):
            read(f"{head}{metric} 7\n", source)


def test_page_without_the_metric() -> None:
    """A page without the metric is a sample without series, an empty one too."""
    assert ([], []) == (read("other 1\n").samples, read("").samples)


def test_identity_of_a_series() -> None:
    """A series has one key, whatever the order of its labels, on all pages; other labels have another one."""
    reader = PageReader(SOURCE)
    texts = ['requests_total{a="1",b="2"} 1\n', 'requests_total{ b = "2" , a = "1" } 1\n', 'requests_total{a="1"} 1\n']
    keys = [sample.key for text in texts for sample in reader.read(text.encode(), AT, openmetrics=False).samples]
    assert keys[0] == keys[1] != keys[2]


def test_keys_of_ledgers_that_exist() -> None:
    """A ledger knows a running counter by key and origin: a version that changes the key changes the origin, too."""
    (sample,) = PageReader(SOURCE).read(b'requests_total{a="1"} 1\n', AT, openmetrics=False).samples
    assert ("prometheus http://127.0.0.1/metrics requests_total []", "4735dbcded4068684e56af4f9e2ff0af") == (
        SOURCE.origin,
        sample.key.hex(),
    )


TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"], exclude_characters="\r"), max_size=12)


@given(counted=st.dictionaries(st.tuples(TEXT, TEXT), st.floats(0, 1e300), max_size=8), openmetrics=st.booleans())
def test_as_the_client_library_writes(counted: dict[tuple[str, str], float], *, openmetrics: bool) -> None:
    """What prometheus-client exposes is read as its own parser reads it, with the tags that its labels hold."""
    registry = CollectorRegistry()
    counter = Counter("requests", "What is sold.", ("tenant", "plan"), registry=registry)
    for labels, value in counted.items():
        counter.labels(*labels).inc(value)
    text = (generate_openmetrics if openmetrics else generate_latest)(registry).decode()
    found = sorted(values(text, openmetrics=openmetrics))
    assert sorted(shortest(value) for value in counted.values()) == found
    families = text_string_to_metric_families(generate_latest(registry).decode())
    bare: Sequence[float] = [
        sample.value for family in families for sample in family.samples if sample.name == "requests_total"
    ]
    assert sorted(bare) == [float(value) for value in found]
    starts = {sample.started_at for sample in read(text, openmetrics=openmetrics).samples}
    assert None not in starts


@given(st.text(max_size=60))
def test_any_text(text: str) -> None:
    """Whatever follows the name is read or refused."""
    for line in (f"requests_total{text}\n", f'requests_total{{a="{text}"}} 1\n', f"requests_total{{{text}}} 1\n"):
        with suppress(PageUnusable):
            assert all(sample.value >= 0 for sample in read(line).samples)


@given(st.lists(st.tuples(st.sampled_from(["tenant", "plan", "le", "a_1"]), TEXT | st.just("")), max_size=4))
def test_spaces_between_labels(labels: list[tuple[str, str]]) -> None:
    """Labels mean the same with and without spaces, or are refused in both ways."""
    escaped = [(name, value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")) for name, value in labels]
    source = replace(SOURCE, tags=(("plan", "Plan"), ("tenant", "Tenant")))
    found: list[list[SeriesSample] | None] = []
    for form in ('{}="{}"', ' {} = "{}" '):
        line = ",".join(form.format(*label) for label in escaped)
        try:
            found.append(read(f"requests_total{{{line}}} 1\n", source).samples)
        except PageUnusable:
            found.append(None)
    assert found[0] == found[1]
    assert (found[0] is None) == (len(dict(labels)) < len(labels))


@pytest.mark.parametrize("labels", ['a="x"b="y"', ",", 'a="x",,', 'a="x",b', 'a=x"', 'a="x" "', '1="x"'])
def test_labels_that_are_not_valid(labels: str) -> None:
    """Labels are read whole, or the page is refused."""
    with pytest.raises(PageUnusable):
        read(f"requests_total{{{labels}}} 1\n")
