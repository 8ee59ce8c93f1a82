"""The output for the seller: what is about to be sent, and the result.

The question goes to standard error; standard output holds the result alone.
"""

import sys
from collections.abc import Iterator

from sidecar.commands.certify.file import ReportFile
from sidecar.commands.certify.findings import open_questions
from sidecar.commands.certify.report import Call, Conclusion, LicenseCall, Question, RecordCall, Report
from sidecar.commands.tables import print_line, print_table

YES = "yes"
_ENDS = {
    Conclusion.PASSED: "AWS has everything that it requires before the listing goes public.",
    Conclusion.FAILED: "AWS refused something; see above.",
    Conclusion.INCOMPLETE: "At least one call is open. Run the same command again: it resumes, and repeats "
    "unanswered calls unchanged.",
}


_ASKED = {
    Question.ZERO_BEFORE_START: "MeterUsage of 0 for the hour before: finds out whether AWS takes it from a new pod",
    Question.REGISTER_USAGE: "RegisterUsage: finds out what AWS answers for a custom price",
}


def announce(file: ReportFile) -> None:
    """Print on standard error what will be sent, by which identity, and who pays for it."""
    report, subject = file.report, file.report.subject
    lines = [
        "The following will be sent to AWS Marketplace:"
        if subject.mode == "live"
        else "The following will be sent to the emulator, which proves nothing to AWS:",
        f"  product  {subject.product_code}",
        f"  account  {subject.account}, as {subject.caller}",
        f"  Region   {subject.region}",
        f"  from     {subject.pod or 'a plain process'}",
    ]
    if report.registration is not None and not report.registration.accepted:
        lines.append("  RegisterUsage: from then on AWS meters this pod or task by the hour, until it ends")
    if report.license is not None and not report.license.accepted:
        lines.append(
            f"  License Manager, for {report.license.sku}: two checkouts of an entitlement without a count, which"
        )
        lines.append("  take nothing and are returned")
    lines += [f"  {_ASKED[question]}" for question in open_questions(file)]
    pending = [record for record in report.records if record.outcome is None]
    if pending:
        lines.append(f"  MeterUsage, one record of {subject.quantity} for each of:")
        lines += [f"    {record.dimension}{_again(record)}" for record in pending]
    lines.append(f"Account {subject.account} is billed at the listing's price.")
    sys.stderr.write("".join(f"{line}\n" for line in lines))


def confirm() -> bool:
    """Ask on the terminal; return whether the answer is exactly `yes`."""
    sys.stderr.write(f"Type {YES} to send it: ")
    sys.stderr.flush()
    return sys.stdin.readline().strip() == YES


def summarize(file: ReportFile) -> None:
    """Print the report for a person."""
    report = file.report
    rows: list[tuple[object, ...]] = [
        ("dry run", dry_run.dimension, None, _state(dry_run), dry_run.request_id) for dry_run in report.dry_runs
    ]
    if report.registration is not None:
        rows.append(("RegisterUsage", None, None, _state(report.registration), report.registration.request_id))
    if report.license is not None:
        rows.append(("License Manager", report.license.sku, None, _state(report.license), report.license.license_arn))
    quantity = report.subject.quantity
    rows += [("MeterUsage", each.dimension, quantity, _state(each), each.metering_record_id) for each in report.records]
    print_table(["call", "dimension", "quantity", "answer", "id"], rows)
    if report.registration is not None and report.registration.key_expired_at is not None:
        print_line(f"AWS rotated the public key: this version expired at {report.registration.key_expired_at}.")
    if report.license is not None and report.license.accepted:
        print_line(_findings(report.license))
    for finding in report.findings:
        answer = (finding.error or _state(finding)).rstrip(".")
        print_line(f"found out, {finding.question}: {answer}.")
    for name, call in _named(report):
        if call.error is not None:
            print_line(f"{name}: {call.error.rstrip('.')}.")
    for cure in dict.fromkeys(call.cure for _, call in _named(report) if call.error and call.cure):
        print_line(f"cure: {cure}")
    print_line(f"{report.verdict}: {_end(report)} Report: {file.path}")


def _end(report: Report) -> str:
    """Return what the verdict means; an emulator's answers say nothing about the listing."""
    if report.subject.mode == "live":
        return _ENDS[report.verdict]
    emulated = {
        Conclusion.PASSED: "The emulator took every call.",
        Conclusion.FAILED: "The emulator refused something; see above.",
        Conclusion.INCOMPLETE: _ENDS[Conclusion.INCOMPLETE],
    }
    return f"{emulated[report.verdict]} That proves nothing to AWS: run it at AWS, too."


def _named(report: Report) -> Iterator[tuple[str, Call]]:
    """Yield every call with its name."""
    for dry_run in report.dry_runs:
        yield f"dry run of {dry_run.dimension}", dry_run
    if report.registration is not None:
        yield "RegisterUsage", report.registration
    if report.license is not None:
        yield "License Manager", report.license
    for record in report.records:
        yield record.dimension, record


def _findings(found: LicenseCall) -> str:
    """Return what AWS's documents leave open, in a sentence each."""
    carries = "carries" if found.carries_usage else "does not carry"
    usage = f"The license {carries} AWS::Marketplace::Usage."
    if found.same_consumption_token is None:
        return f"{usage} It has no entitlement without a count, so no checkout was repeated."
    same = "the same" if found.same_consumption_token else "another"
    return f"{usage} A repeated client token gives {same} consumption token."


def _state(call: Call) -> str:
    if call.outcome is not None:
        return call.outcome
    return "not asked" if call.asked_at is None else "no answer"


def _again(record: RecordCall) -> str:
    return "" if record.request is None else f", repeated exactly as on {record.request.timestamp}: AWS counts it once"
