"""What AWS's documents leave open for custom prices: asked at the seller's first run, and written into the report.

The questions come before every other call, because the first of them is about the hour before the first call. No answer
stops the certification.
"""

import secrets
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING
from uuid import uuid4

from sidecar.commands.certify.file import ReportFile
from sidecar.commands.certify.report import CallOutcome, Finding, Frozen, Question
from sidecar.domain import timestamps
from sidecar.domain.metering.hours import hour_of, previous_hour, start_of
from sidecar.domain.policy import EntitlementCheck, QuantityKind
from sidecar.marketplace import CustomerNotEntitledException, Disposition, MarketplaceError
from sidecar.services.meter_request import build_request

if TYPE_CHECKING:
    from sidecar.commands.certify.calls import Certifier

_NONCE_BYTES = 32
_UNANSWERED = frozenset({Disposition.RETRY, Disposition.FIX_SETUP})


def open_questions(file: ReportFile) -> list[Question]:
    """Return the questions that have no answer yet; none unless the product has a custom price."""
    subject = file.report.subject
    if subject.check != EntitlementCheck.METER or not subject.dimensions:
        return []
    known = {finding.question for finding in file.report.findings if finding.outcome is not None}
    return [question for question in Question if question not in known]


async def find_out(run: "Certifier") -> None:
    """Ask each open question once, and write the answer into the report."""
    for question in open_questions(run.file):
        finding = await _frozen(run, question)
        try:
            match question:
                case Question.ZERO_BEFORE_START:
                    await _meter_nothing(run, finding)
                case Question.REGISTER_USAGE:
                    await run.repeat(partial(run.make_prover().ask, secrets.token_urlsafe(_NONCE_BYTES)))
        except MarketplaceError as error:
            # The set-up and the subscription are not asked about: the next run asks again.
            beside = isinstance(error, CustomerNotEntitledException) or error.disposition in _UNANSWERED
            finding.error, finding.request_id = str(error), error.request_id
            finding.outcome = None if beside else CallOutcome.REFUSED
        else:
            finding.error, finding.outcome = None, CallOutcome.ACCEPTED
        finding.answered_at = timestamps.render(await run.present())
        run.file.save()


async def _frozen(run: "Certifier", question: Question) -> Finding:
    """Return the finding of a question, with its request on disk."""
    report, now = run.file.report, await run.present()
    finding = next((each for each in report.findings if each.question == question), None)
    if finding is None:
        before = timestamps.render(start_of(previous_hour(hour_of(now))) + timedelta(minutes=59))
        request = Frozen(before, str(uuid4())) if question is Question.ZERO_BEFORE_START else None
        finding = Finding(question=question, dimension=report.subject.dimensions[0], request=request)
        report.findings.append(finding)
    finding.asked_at = timestamps.render(now)
    run.file.save()
    return finding


async def _meter_nothing(run: "Certifier", finding: Finding) -> None:
    assert finding.request is not None  # noqa: S101 - _frozen has made it
    request = build_request(
        product_code=run.file.report.subject.product_code,
        dimension=finding.dimension,
        timestamp=finding.request.instant,
        quantity=0,
        whole=run.file.report.subject.quantity_kind == QuantityKind.INTEGER,
        client_token=finding.request.client_token,
    )
    result = await run.repeat(partial(run.service.meter_usage, request))
    finding.metering_record_id = result.metering_record_id
