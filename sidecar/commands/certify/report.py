"""The report of a certification: what was asked of AWS, what it answered, and what is still open.

Its format is named in the document; any other document is refused. What is frozen in it never changes again.
"""

from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from enum import StrEnum
from typing import Any, Self

from sidecar.domain import timestamps

FORMAT = "marketplace-sidecar certification 1"


class CallOutcome(StrEnum):
    """A final answer of AWS."""

    ACCEPTED = "accepted"  # the dry run is allowed, the signature is valid, or AWS holds the record
    REFUSED = "refused"


class Conclusion(StrEnum):
    """The result of the whole certification."""

    PASSED = "passed"
    FAILED = "failed"
    INCOMPLETE = "incomplete"  # a call was not made yet, or has no answer


@dataclass(frozen=True, slots=True)
class Target:
    """The product that is certified, the identity and the pod. A report has exactly one."""

    product_code: str
    public_key_version: int
    check: str
    dimensions: list[str]
    quantity: str
    quantity_kind: str
    mode: str
    region: str
    account: str
    caller: str
    """The identity that signs the calls, as the AWS token service names it."""
    pod: str | None
    """The pod or task that AWS meters; None with an emulator, which meters by caller."""


@dataclass(slots=True)
class Call:
    """A call to AWS and its result. Open while it has no outcome."""

    asked_at: str | None = None
    answered_at: str | None = None
    outcome: CallOutcome | None = None
    request_id: str | None = None
    error: str | None = None
    """The error from AWS, or why there was no answer; an open call keeps that of its last attempt."""
    cure: str | None = None

    @property
    def accepted(self) -> bool:
        """Whether AWS accepted it."""
        return self.outcome is CallOutcome.ACCEPTED


@dataclass(slots=True)
class DryRun(Call):
    """Whether the role may meter a dimension."""

    dimension: str = ""


@dataclass(slots=True)
class RegistrationCall(Call):
    """One RegisterUsage; its signature is verified. Neither nonce nor signature is kept."""

    claims: dict[str, Any] = field(default_factory=dict)
    """Product code, key version and time of issue, as AWS signed them."""
    key_expired_at: str | None = None
    """When the key version expired, if AWS has rotated the key."""


@dataclass(frozen=True, slots=True)
class Frozen:
    """What makes a record's request the same one each time it is sent."""

    timestamp: str
    client_token: str

    @property
    def instant(self) -> datetime:
        """The timestamp.

        Raises:
            ValueError: It is not a timestamp; `Report.parse` refuses such a request.
        """
        instant = timestamps.parse(self.timestamp)
        if instant is None:
            raise ValueError("not a timestamp")
        return instant


@dataclass(slots=True)
class RecordCall(Call):
    """One MeterUsage. Its request is set once, before the first attempt, and never changes."""

    dimension: str = ""
    request: Frozen | None = None
    metering_record_id: str | None = None


class Question(StrEnum):
    """What AWS's documents leave open, and the seller's first run finds out."""

    ZERO_BEFORE_START = "zero-record-before-start"  # whether AWS takes a zero record of the hour before the first call
    REGISTER_USAGE = "register-usage-of-custom-price"  # what RegisterUsage answers for a product with a custom price


@dataclass(slots=True)
class Finding(RecordCall):
    """The answer to a question. It decides nothing about the verdict: each answer is a good one."""

    question: str = ""


@dataclass(slots=True)
class LicenseCall(Call):
    """What License Manager answers about the product's license. No consumption token is kept."""

    sku: str = ""
    region: str | None = None
    """Where the license was found."""
    license_arn: str | None = None
    carries_usage: bool | None = None
    """Whether the license has the entitlement `AWS::Marketplace::Usage`."""
    entitlement: str | None = None
    """What was checked out twice: an entitlement without a count; None if the license has no such entitlement."""
    same_consumption_token: bool | None = None
    """Whether the second checkout, by the same client token, gave the consumption token of the first."""


@dataclass(slots=True)
class Report:
    """The whole report, as in the file. Times are RFC 3339 in UTC; null means unknown, or not yet."""

    subject: Target
    sidecar_version: str
    started_at: str
    finished_at: str | None = None
    dry_runs: list[DryRun] = field(default_factory=list)
    registration: RegistrationCall | None = None
    """None when the product does not register."""
    license: LicenseCall | None = None
    """None when no license decides on the product's entitlement."""
    records: list[RecordCall] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    """Empty unless the check is `meter`."""

    @property
    def calls(self) -> list[Call]:
        """Every call, in order."""
        entitlement = [call for call in (self.registration, self.license) if call is not None]
        return [*self.dry_runs, *entitlement, *self.records]

    @property
    def settled(self) -> bool:
        """Whether every call but the dry runs has its final answer."""
        entitled = all(call is None or call.accepted for call in (self.registration, self.license))
        return entitled and all(record.outcome is not None for record in self.records)

    @property
    def verdict(self) -> Conclusion:
        """The result of all calls together."""
        outcomes = [call.outcome for call in self.calls]
        if CallOutcome.REFUSED in outcomes:
            return Conclusion.FAILED
        whole = len(self.dry_runs) == len(self.records) and None not in outcomes
        return Conclusion.PASSED if whole else Conclusion.INCOMPLETE

    def document(self) -> dict[str, Any]:
        """Return the members of the file."""
        members = asdict(self)
        return {"format": FORMAT, "verdict": self.verdict, **members}

    @classmethod
    def parse(cls, document: Any) -> Self:
        """Return the report in a document; raises ValueError if it is not a report."""
        if not isinstance(document, dict) or document.pop("format", None) != FORMAT:
            raise ValueError("not a report")
        document.pop("verdict", None)
        document.setdefault("license", None)  # a report from before there were licenses is resumed
        document.setdefault("findings", [])  # of a version that asked no questions
        members = _checked(cls, document)
        registration, license_ = members["registration"], members["license"]
        report = cls(
            **{
                **members,
                "subject": Target(**_checked(Target, members["subject"])),
                "dry_runs": [_call(DryRun, each) for each in members["dry_runs"]],
                "registration": None if registration is None else _call(RegistrationCall, registration),
                "license": None if license_ is None else _call(LicenseCall, license_),
                "records": [_record(RecordCall, each) for each in members["records"]],
                "findings": [_record(Finding, each) for each in members["findings"]],
            }
        )
        if [record.dimension for record in report.records] != report.subject.dimensions:
            raise ValueError("the records are not those of the dimensions")
        return report


def _call(kind: type[Any], document: Any) -> Any:
    members = _checked(kind, document)
    outcome = members["outcome"]
    return kind(**{**members, "outcome": None if outcome is None else CallOutcome(outcome)})


def _record(kind: type[Any], document: Any) -> Any:
    record = _call(kind, document)
    if record.request is not None:
        record.request = Frozen(**_checked(Frozen, record.request))
        # Read now: an edited timestamp must be found before the first call.
        _ = record.request.instant
    return record


def _checked(kind: type[Any], document: Any) -> dict[str, Any]:
    """Return the members of a document that has exactly those of a class."""
    names = {each.name for each in fields(kind)}
    if not isinstance(document, dict) or document.keys() != names:
        raise ValueError(f"not the members of {kind.__name__}")
    return document
