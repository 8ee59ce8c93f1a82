"""The status in the Prometheus text format."""

import re
from dataclasses import replace
from datetime import timedelta

import pytest
from prometheus_client.parser import text_string_to_metric_families

from sidecar.adapters.metrics import expose
from sidecar.domain.entitlement.states import State
from sidecar.domain.metering.failing import Cause
from sidecar.domain.metering.quantity import MILLION
from sidecar.domain.status import Finding, Status, Terms
from tests.support.http_fakes import NOW, STATUS

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def samples_of(status: Status) -> Samples:
    """Return every sample by name and labels, read by Prometheus's own parser."""
    families = text_string_to_metric_families(expose(status).decode())
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def labeled(name: str, **labels: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Return the key of one sample."""
    return name, tuple(sorted(labels.items()))


def test_every_value_exposed() -> None:
    """Each sample of a full status has the status's value."""
    assert samples_of(STATUS) == {
        labeled("marketplace_build_info", version="1.2.3"): 1,
        labeled("marketplace_entitled"): 1,
        labeled("marketplace_entitlement_state", state="pending"): 0,
        labeled("marketplace_entitlement_state", state="entitled"): 1,
        labeled("marketplace_entitlement_state", state="denied"): 0,
        labeled("marketplace_entitlement_state", state="unavailable"): 0,
        labeled("marketplace_entitlement_state", state="suspended"): 0,
        labeled("marketplace_start_time_seconds"): 1795428000,
        labeled("marketplace_last_submission_success_timestamp_seconds"): 1795428180,
        labeled("marketplace_last_submission_success_age_seconds"): 120,
        labeled("marketplace_oldest_unsent_hour_timestamp_seconds"): 1795428000,
        labeled("marketplace_oldest_unsent_hour_age_seconds"): 300,
        labeled("marketplace_oldest_open_hour_timestamp_seconds"): 1795428000,
        labeled("marketplace_oldest_open_hour_age_seconds"): 300,
        labeled("marketplace_submission_window_close_timestamp_seconds"): 1795449600,
        labeled("marketplace_submission_window_left_seconds"): 21300,
        labeled("marketplace_clock_skew_seconds"): -2.5,
        labeled("marketplace_metering_state", state="ok"): 1,
        labeled("marketplace_metering_state", state="failing"): 0,
        labeled("marketplace_metering_state", state="gated"): 0,
        labeled("marketplace_metering_state", state="stopped"): 0,
        labeled("marketplace_metering_failing", cause="silence"): 0,
        labeled("marketplace_metering_failing", cause="duplicates"): 0,
        labeled("marketplace_metering_failing", cause="no-room"): 0,
        labeled("marketplace_usage_accepted", dimension="requests"): 9.5,
        labeled("marketplace_usage_open", dimension="requests"): 2,
        labeled("marketplace_usage_sealed", dimension="requests"): 0,
        labeled("marketplace_usage_submitted", dimension="requests"): 7.5,
        labeled("marketplace_usage_unbilled", dimension="requests"): 0,
        labeled("marketplace_usage_remainder", dimension="requests"): 0,
        labeled("marketplace_usage_left_unsent", dimension="requests"): 0.5,
        labeled("marketplace_usage_probe_slot_total", dimension="requests"): 0.25,
        labeled("marketplace_ledger_balanced"): 1,
        labeled("marketplace_records_in_doubt"): 1,
        labeled("marketplace_ledger_bytes"): 4096,
        labeled("marketplace_ledger_used_bytes"): 3072,
        labeled("marketplace_ledger_limit_bytes"): 8192,
        labeled("marketplace_submission_answers_total", answer="accepted"): 3,
        labeled("marketplace_submission_answers_total", answer="ThrottlingException"): 1,
        labeled("marketplace_usage_events_accepted_total"): 7,
        labeled("marketplace_usage_events_duplicate_total"): 2,
        labeled("marketplace_usage_requests_refused_total", reason="invalid-usage"): 3,
        labeled("marketplace_usage_requests_refused_total", reason="overloaded"): 0,
        labeled("marketplace_usage_take_duration_seconds_bucket", le="0.5"): 2,
        labeled("marketplace_usage_take_duration_seconds_bucket", le="1.0"): 3,
        labeled("marketplace_usage_take_duration_seconds_bucket", le="+Inf"): 4,
        labeled("marketplace_usage_take_duration_seconds_count"): 4,
        labeled("marketplace_usage_take_duration_seconds_sum"): 6.5,
        labeled("marketplace_ledger_commit_duration_seconds_bucket", le="0.5"): 1,
        labeled("marketplace_ledger_commit_duration_seconds_bucket", le="1.0"): 1,
        labeled("marketplace_ledger_commit_duration_seconds_bucket", le="+Inf"): 1,
        labeled("marketplace_ledger_commit_duration_seconds_count"): 1,
        labeled("marketplace_ledger_commit_duration_seconds_sum"): 0.25,
        labeled("marketplace_source_observed_seconds_total", dimension="pod_hours"): 1800.5,
        labeled("marketplace_source_missed_seconds_total", dimension="pod_hours"): 12,
        labeled("marketplace_source_series", dimension="served"): 3,
        labeled("marketplace_source_series_folded", dimension="served"): 1,
        labeled("marketplace_source_samples_unusable_total", dimension="served"): 2,
        labeled("marketplace_source_series_samples_total", outcome="began"): 3,
        labeled("marketplace_source_series_samples_total", outcome="increased"): 40,
        labeled("marketplace_faults", code="key-rotated"): 1,
    }


def test_names_share_a_prefix() -> None:
    """Every name starts with marketplace_."""
    assert all(name.startswith("marketplace_") for name, _ in samples_of(STATUS))


@pytest.mark.parametrize("state", State)
def test_one_state_at_a_time(state: State) -> None:
    """Exactly one entitlement state is 1."""
    samples = samples_of(replace(STATUS, entitlement=replace(STATUS.entitlement, state=state)))
    assert [state.value] == [
        dict(labels)["state"]
        for (name, labels), value in samples.items()
        if name == "marketplace_entitlement_state" and value == 1
    ]
    assert samples[labeled("marketplace_entitled")] == (state is State.ENTITLED)


def test_unknown_values_left_out() -> None:
    """What has not happened has no sample, rather than a wrong one."""
    status = replace(
        STATUS,
        last_success_at=None,
        oldest_unsent_hour=None,
        oldest_open_hour=None,
        window_closes_at=None,
        ledger_bytes=None,
        ledger_used=None,
        ledger_limit=None,
        clock_skew=None,
        taking=None,
        committing=None,
    )
    missing = {name for name, _ in samples_of(STATUS)} - {name for name, _ in samples_of(status)}
    assert missing == {
        "marketplace_last_submission_success_timestamp_seconds",
        "marketplace_last_submission_success_age_seconds",
        "marketplace_oldest_unsent_hour_timestamp_seconds",
        "marketplace_oldest_unsent_hour_age_seconds",
        "marketplace_oldest_open_hour_timestamp_seconds",
        "marketplace_oldest_open_hour_age_seconds",
        "marketplace_submission_window_close_timestamp_seconds",
        "marketplace_submission_window_left_seconds",
        "marketplace_clock_skew_seconds",
        "marketplace_ledger_bytes",
        "marketplace_ledger_used_bytes",
        "marketplace_ledger_limit_bytes",
        *(
            f"marketplace_{what}_duration_seconds_{part}"
            for what in ("usage_take", "ledger_commit")
            for part in ("bucket", "count", "sum")
        ),
    }


def test_imbalance_shown() -> None:
    """A broken conservation law shows as 0."""
    status = replace(STATUS, conservation={"requests": Terms(accepted=MILLION)})
    assert 0 == samples_of(status)[labeled("marketplace_ledger_balanced")]


def test_causes_of_failing_shown() -> None:
    """Each cause for which metering fails is 1, and the others are 0."""
    samples = samples_of(replace(STATUS, failing=frozenset({Cause.DUPLICATES})))
    shown = {cause: samples[labeled("marketplace_metering_failing", cause=cause)] for cause in Cause}
    assert {Cause.SILENCE: 0, Cause.DUPLICATES: 1, Cause.NO_ROOM: 0} == shown


def test_repeated_fault_shown_once() -> None:
    """Faults of one code make one sample, and their words make none."""
    finding = Finding("in-doubt", "the first detail", "ask AWS", NOW)
    text = expose(replace(STATUS, findings=[finding, replace(finding, detail="another detail")])).decode()
    assert 1 == text.count('code="in-doubt"')
    assert "detail" not in text


def test_clock_step_gives_no_negative_age() -> None:
    """A clock that went back makes the age 0, and one that went ahead the time that is left."""
    samples = samples_of(replace(STATUS, now=STATUS.started_at))
    assert 0 == samples[labeled("marketplace_last_submission_success_age_seconds")]
    samples = samples_of(replace(STATUS, now=STATUS.now + timedelta(days=1)))
    assert 0 == samples[labeled("marketplace_submission_window_left_seconds")]


def test_names_tell_kind_and_unit() -> None:
    """Counters end in _total and nothing else does; no name has a unit other than seconds and bytes; each has help."""
    families = list(text_string_to_metric_families(expose(STATUS).decode()))
    totals = {sample.name for family in families for sample in family.samples if sample.name.endswith("_total")}
    assert totals == {sample.name for family in families if family.type == "counter" for sample in family.samples}
    assert all(family.documentation.endswith(".") for family in families)
    assert not re.search(r"_(milliseconds|ms|minutes|hours|kib|mib|mb)\b", " ".join(family.name for family in families))


def test_odd_names_escaped() -> None:
    """A dimension of any characters stays one label value."""
    name = 'a"b\\c\nd'
    samples = samples_of(replace(STATUS, conservation={name: Terms(accepted=MILLION, open=MILLION)}))
    assert 1 == samples[labeled("marketplace_usage_accepted", dimension=name)]


def test_unforeseen_code_is_no_label() -> None:
    """A fault whose code is a stranger's word is counted by its kind: new words make no new series."""
    faults = [Finding(f"Code{number}", "words", "", NOW, "UnknownAnswer") for number in range(9)]
    codes = {dict(labels)["code"] for name, labels in samples_of(replace(STATUS, findings=faults)) if "faults" in name}
    assert {"UnknownAnswer"} == codes


def test_left_unsent_is_shown() -> None:
    """What the pod's end leaves unsent has a sample by dimension, 0 while the pod lives."""
    name = labeled("marketplace_usage_left_unsent", dimension="requests")
    assert 0 == samples_of(replace(STATUS, left_unsent={}))[name]
    assert 0.5 == samples_of(STATUS)[name]
