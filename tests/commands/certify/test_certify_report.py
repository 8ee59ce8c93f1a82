"""The report: what it concludes, and that nothing but a report is read as one."""

import json
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.commands.certify.file import NotKept, ReportFile, Unusable, open_report
from sidecar.commands.certify.output import summarize
from sidecar.commands.certify.report import (
    CallOutcome,
    Conclusion,
    DryRun,
    Frozen,
    LicenseCall,
    RecordCall,
    RegistrationCall,
    Report,
    Target,
)

SUBJECT = Target(
    product_code="0abc123example",
    public_key_version=1,
    check="register",
    dimensions=["requests"],
    quantity="1",
    quantity_kind="decimal",
    mode="live",
    region="eu-west-1",
    account="111122223333",
    caller="arn:aws:sts::111122223333:assumed-role/metering",
    pod="pod-1",
)
YES, NO = CallOutcome.ACCEPTED, CallOutcome.REFUSED


def report(
    dry_run: CallOutcome | None = YES, registration: CallOutcome | None = YES, record: CallOutcome | None = YES
) -> Report:
    """Return a report with these outcomes."""
    return Report(
        subject=SUBJECT,
        sidecar_version="0.1.0",
        started_at="2026-11-23T10:20:00Z",
        dry_runs=[DryRun(dimension="requests", outcome=dry_run)],
        registration=RegistrationCall(outcome=registration, claims={"productCode": "0abc123example"}),
        records=[RecordCall(dimension="requests", outcome=record, request=Frozen("2026-11-23T10:20:00Z", "token-1"))],
    )


@pytest.mark.parametrize(
    ("outcomes", "verdict"),
    [
        ((YES, YES, YES), Conclusion.PASSED),
        ((YES, YES, None), Conclusion.INCOMPLETE),
        ((YES, None, YES), Conclusion.INCOMPLETE),
        ((None, YES, YES), Conclusion.INCOMPLETE),
        ((YES, YES, NO), Conclusion.FAILED),
        ((YES, NO, None), Conclusion.FAILED),
        ((NO, None, None), Conclusion.FAILED),
    ],
)
def test_verdict_follows_outcomes(outcomes: tuple[CallOutcome | None, ...], verdict: Conclusion) -> None:
    """It passes only when AWS said yes to everything, and fails with the first no."""
    assert report(*outcomes).verdict is verdict


def test_unasked_is_incomplete() -> None:
    """A report in which nothing was asked yet does not pass for want of a no."""
    begun = Report(SUBJECT, "0.1.0", "2026-11-23T10:20:00Z", records=[RecordCall(dimension="requests")])
    assert begun.verdict is Conclusion.INCOMPLETE


@pytest.mark.parametrize("license_", [None, LicenseCall(sku="prod-1"), LicenseCall(outcome=YES, carries_usage=True)])
def test_report_reads_back(license_: LicenseCall | None) -> None:
    """What was written is read as it was."""
    written = replace(report(record=None), license=license_)
    assert Report.parse(json.loads(json.dumps(written.document()))) == written


def test_report_without_licenses_is_resumed() -> None:
    """A report from before there were licenses is read, and needs none."""
    document = report().document()
    del document["license"]
    assert Report.parse(document).settled


@pytest.mark.parametrize(
    ("outcome", "verdict", "settled"),
    [(YES, Conclusion.PASSED, True), (NO, Conclusion.FAILED, False), (None, Conclusion.INCOMPLETE, False)],
)
def test_license_decides_as_well(outcome: CallOutcome | None, verdict: Conclusion, *, settled: bool) -> None:
    """A license that was not examined, or was refused, keeps the certification from passing."""
    examined = replace(report(), license=LicenseCall(sku="prod-1", outcome=outcome))
    assert (verdict, settled) == (examined.verdict, examined.settled)


def paths(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the way to each member of a document."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(path for key, each in inner for path in paths(each, (*at, key)))]


DOCUMENT = json.loads(json.dumps(report().document()))
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)


@given(path=st.sampled_from([path for path in paths(DOCUMENT) if path]), junk=JUNK)
def test_edited_report_is_read_or_refused(path: tuple[Any, ...], junk: Any) -> None:
    """Whatever stands in place of a member, the document is a report that can be written again, or none at all."""
    document = deepcopy(DOCUMENT)
    parent = document
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = junk
    try:
        found = Report.parse(document)
    except (ValueError, TypeError, KeyError):
        return
    json.dumps(found.document())
    for record in found.records:
        assert record.request is None or record.request.instant.tzinfo is not None


def test_lost_room_keeps_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A report that cannot be written anew stands as it was, and nothing else lies next to it."""
    path = tmp_path / "certify.json"
    with open_report(path, report(record=None)) as file:
        before = path.read_bytes()
        file.report.records[0].outcome = YES
        monkeypatch.setattr("os.fsync", _no_room)
        with pytest.raises(NotKept, match="No space left on device"):
            file.save()
    assert (path.read_bytes(), list(tmp_path.iterdir())) == (before, [path])


def _no_room(_descriptor: int) -> None:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize(("folder", "expected"), [(0o770, 0o660), (0o750, 0o600)])
def test_report_is_as_open_as_its_folder(tmp_path: Path, folder: int, expected: int) -> None:
    """Another user of a volume's group resumes the certification; elsewhere the report stays its user's."""
    tmp_path.chmod(folder)
    with open_report(tmp_path / "certify.json", report(record=None)) as file:
        assert expected == file.path.stat().st_mode & 0o777


def test_missing_folder_is_named(tmp_path: Path) -> None:
    """A report goes only into a folder that is there."""
    with pytest.raises(Unusable, match="No such file"), open_report(tmp_path / "no" / "certify.json", report()):
        pass


@pytest.mark.parametrize(
    ("record", "live", "emulated"),
    [
        (YES, "passed: AWS has everything ", "passed: The emulator took every call."),
        (NO, "failed: AWS refused something", "failed: The emulator refused something"),
        (None, "incomplete: At least one call is open.", "incomplete: At least one call is open."),
    ],
)
def test_last_line_names_who_answered(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], record: CallOutcome | None, live: str, emulated: str
) -> None:
    """The last line has the verdict; with an emulator it states that this proves nothing to AWS."""
    for mode, expected in (("live", live), ("emulator", emulated)):
        given = report(record=record)
        summarize(ReportFile(tmp_path / "r.json", replace(given, subject=replace(SUBJECT, mode=mode))))
        last = capsys.readouterr().out.splitlines()[-1]
        assert last.startswith(expected)
        assert (mode == "emulator") == ("proves nothing to AWS" in last)
