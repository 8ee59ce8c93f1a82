"""The four metering operations on the service: from the body of a call to the body of its answer.

Applies the faults that change an answer or refuse a call, then the rules. Refuses to know HTTP. Invariant: between
the rule's look at the state and its change nothing else runs, so every call is atomic.
"""

from typing import Any
from uuid import uuid4

from sidecar.emulator.protocol.calls import MARKETPLACE_REFUSALS, Call, CallAnswer, check_fault, read_body
from sidecar.emulator.protocol.decisions import Rule
from sidecar.emulator.protocol.errors import ServiceError
from sidecar.emulator.protocol.instants import epoch_seconds
from sidecar.emulator.protocol.requests import (
    BatchMeterUsageRequest,
    MeteringRequest,
    MeterUsageRequest,
    RegisterUsageRequest,
    ResolveCustomerRequest,
    read_request,
)
from sidecar.emulator.protocol.shapes import REQUESTS
from sidecar.emulator.protocol.trail import describe
from sidecar.emulator.rules.batch_meter_usage import batch_meter_usage
from sidecar.emulator.rules.meter_usage import meter_usage
from sidecar.emulator.rules.register_usage import register_usage
from sidecar.emulator.rules.resolve_customer import resolve_customer
from sidecar.emulator.service import Service
from sidecar.emulator.state.entries import FirstCall

_LARGEST_BATCH = 1024 * 1024


async def fill_answer(service: Service, call: Call, answer: CallAnswer) -> None:
    """Perform a call and fill its answer.

    Raises:
        ServiceError: The call is refused. What the log may show of the request is in the answer.
    """
    members = _read_members(call)
    request = read_request(call.operation, members)
    answer.parameters = describe(request)
    _check_call(service, call, request)
    _note_first_call(service, call, request)
    match request:
        case RegisterUsageRequest():
            await _register_usage(service, call, request, answer)
        case MeterUsageRequest():
            _meter_usage(service, call, request, answer)
        case BatchMeterUsageRequest():
            _batch_meter_usage(service, call, request, members["UsageRecords"], answer)
        case ResolveCustomerRequest():
            _resolve_customer(service, request, answer)


def _read_members(call: Call) -> dict[str, Any]:
    if call.operation == "BatchMeterUsage" and len(call.body) >= _LARGEST_BATCH:
        raise ServiceError("RequestEntityTooLargeException", "A batch must be smaller than 1 MB.")
    return read_body(call, REQUESTS)


def _check_call(service: Service, call: Call, request: MeteringRequest) -> None:
    dry_run = isinstance(request, MeterUsageRequest) and request.dry_run
    denied = "UnauthorizedException" if dry_run else "AccessDeniedException"
    check_fault(call, "aws-marketplace", MARKETPLACE_REFUSALS, denied)
    if not service.quotas.admit(call.operation, call.caller.region, service.clock.now()):
        raise ServiceError("ThrottlingException", "Rate exceeded.")
    from_pod = isinstance(request, RegisterUsageRequest | MeterUsageRequest)
    if from_pod and service.options.identity == "irsa-only" and call.caller.session is None:
        raise ServiceError(
            "PlatformNotSupportedException",
            "Only IAM roles for service accounts are supported, not keys of the caller's own.",
        )


def _note_first_call(service: Service, call: Call, request: MeteringRequest) -> None:
    if not service.options.from_first_call or not isinstance(request, RegisterUsageRequest | MeterUsageRequest):
        return
    if call.caller.identity not in service.state.first_calls:
        service.state.keep(FirstCall(call.caller.identity, service.clock.now()))


async def _register_usage(service: Service, call: Call, request: RegisterUsageRequest, answer: CallAnswer) -> None:
    await service.keys.prepare(request.public_key_version, fault=call.fault)
    answer.rule = Rule.REGISTRATION
    granted = register_usage(service.state, service.clock.now(), call.caller.identity, request)
    answer.result = {"Signature": service.keys.sign(granted.key_version, granted.claims, fault=call.fault)}
    if granted.rotated_at is not None:
        answer.result["PublicKeyRotationTimestamp"] = epoch_seconds(granted.rotated_at)


def _meter_usage(service: Service, call: Call, request: MeterUsageRequest, answer: CallAnswer) -> None:
    if request.dry_run and call.fault == "dry-run-success":
        answer.result = {"MeteringRecordId": str(uuid4())}
        return
    held = len(service.state.records)
    record = meter_usage(service.state, service.clock.now(), call.caller.identity, request)
    answer.rule = Rule.HOUR_SLOT if len(service.state.records) > held else Rule.REPEAT
    answer.elements = {"meteringRecordId": record.metering_record_id}
    if call.fault != "no-record-id":
        answer.result = {"MeteringRecordId": record.metering_record_id}


def _batch_meter_usage(
    service: Service, call: Call, request: BatchMeterUsageRequest, records: list[dict[str, Any]], answer: CallAnswer
) -> None:
    sent = [{**record, "Timestamp": epoch_seconds(record["Timestamp"])} for record in records]
    if call.fault == "unprocessed":
        answer.result = {"Results": [], "UnprocessedRecords": sent}
        return
    outcomes = batch_meter_usage(service.state, service.clock.now(), call.caller.identity, request)
    answer.rule = Rule.CUSTOMER_SLOT
    results: list[dict[str, Any]] = []
    for record, outcome in zip(sent, outcomes, strict=True):
        result = {"UsageRecord": record, "Status": outcome.status}
        if outcome.metering_record_id is not None and call.fault != "no-record-id":
            result["MeteringRecordId"] = outcome.metering_record_id
        results.append(result)
    answer.result = {"Results": results, "UnprocessedRecords": []}
    answer.elements = {
        "results": [{"status": outcome.status, "meteringRecordId": outcome.metering_record_id} for outcome in outcomes]
    }


def _resolve_customer(service: Service, request: ResolveCustomerRequest, answer: CallAnswer) -> None:
    customer = resolve_customer(service.state, service.clock.now(), request.token)
    answer.rule = Rule.REGISTRATION_TOKEN
    answer.result = {
        "ProductCode": service.state.seed.resolved_product_code,
        "CustomerAWSAccountId": customer.aws_account_id,
        "LicenseArn": customer.license_arn,
        "Metadata": {"AgreementId": customer.agreement_id},
    }
    if customer.customer_identifier is not None:
        answer.result["CustomerIdentifier"] = customer.customer_identifier
