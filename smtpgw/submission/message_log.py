"""Telemetry of one message: its line in the log, its metrics, and its trace span."""

import re
import traceback
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING

from smtpgw.core.models import Submission
from smtpgw.core.outcomes import Outcome
from smtpgw.core.replies import INTERNAL_ERROR, Reply, SMTPError
from smtpgw.dialects.interpreter import Finding, HeaderError, Options, Verdict
from smtpgw.message.fields import MAX_SECTION_BYTES
from smtpgw.message.parser import Message
from smtpgw.submission.translation import EmailRequest
from smtpgw.telemetry import deferred, internal_errors, logs, metrics, tracing

if TYPE_CHECKING:
    from opentelemetry.trace import Span

# Finds the Message-ID of a message that could not be parsed, since support searches the log for it.
MESSAGE_ID = re.compile(rb"^message-id:[ \t]*(?:\r\n[ \t]+)?([^\r\n]{1,998})", re.IGNORECASE | re.MULTILINE)

# A log line has room for this number of results; see log_bounds.
MAX_RESULTS_IN_ORDER = 50


class MessageLog:
    """Context manager that collects the telemetry of a message and emits it once, at the end of the block.

    An error in it is logged and never raised, since it must not change the reply to a message that was accepted.
    """

    def __init__(self, submission: Submission) -> None:
        self.began = monotonic()
        self.id = submission.id
        self.session_id = submission.session_id
        self.client = submission.client
        self.account_id = submission.account.id
        self.envelope = submission.envelope
        # Released at the end of the block.
        self.raw = submission.raw
        self.octets = len(submission.raw)
        self.seconds: dict[str, float] = {}
        self.fields: dict[str, object] = {}
        self.notes: tuple[str, ...] = ()
        self.outcomes: Sequence[Outcome] = ()
        self.bounce: Outcome | None = None
        self.reply = INTERNAL_ERROR
        self.trace: AbstractContextManager[Span | None] = tracing.message(
            submission.id, submission.session_id, submission.account.id
        )
        self.span: Span | None = None
        self.timer = Stage(self.seconds)

    def __enter__(self) -> "MessageLog":
        span = self.trace.__enter__()
        # Most messages are not sampled.
        if span and span.is_recording():
            self.span = span
            self.timer = TracedStage(self.seconds)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._end(problem)
        # A bug of the gateway must not change the reply to the client.
        except Exception:  # noqa: BLE001
            internal_errors.log_exception(id=self.id, what="a message could not be told of")

    def _end(self, problem: BaseException | None) -> None:
        try:
            if problem:
                self._fail(problem)
            self.duration = monotonic() - self.began
            self.fields["time"] = datetime.now(UTC)
            if self.span:
                self._trace(self.span)
            # The message may be large, and the log line is written later.
            self.raw = b""
            deferred.submit(self._emit)
        finally:
            self.trace.__exit__(None, None, None)

    def _fail(self, problem: BaseException) -> None:
        if isinstance(problem, HeaderError):
            self._count([problem.finding])
            self.fields["refused"] = finding_text(problem.finding)
        if isinstance(problem, SMTPError):
            self.reply = problem.reply
        else:
            self.fields["trace"] = "".join(traceback.format_exception(problem))
        if "message_id" not in self.fields:
            self.fields["message_id"] = message_id(self.raw)

    def stage(self, name: str) -> "Stage":
        """Return a context manager that measures a stage. Stages follow each other and are not nested."""
        self.timer.name = name
        return self.timer

    def message(self, mail: Message) -> None:
        self.fields["message_id"] = mail.message_id
        self.fields["attachments"] = len(mail.attachments)
        self.notes += mail.notes

    def options(self, options: Options) -> None:
        if options.findings:
            self._count(options.findings)
        if options.metadata:
            self.fields["metadata"] = redact_metadata(options.metadata)
        if options.account_id is not None:
            self.fields["sub_account"] = options.account_id

    def _count(self, findings: Sequence[Finding]) -> None:
        for finding in findings:
            metrics.DIALECTS.count(finding.dialect, finding.verdict.value)
        verdicts = Counter(f"{finding.dialect} {finding.verdict}" for finding in findings)
        self.fields["verdicts"] = dict(verdicts)
        lost = [finding_text(finding) for finding in findings if finding.verdict is Verdict.STRIP_WARN]
        if lost:
            self.fields["lost"] = lost

    def sender(self, sender_id: str) -> None:
        self.fields["sender_id"] = sender_id

    def request(self, request: EmailRequest) -> None:
        self.notes += request.notes

    def _emit(self) -> None:
        reply, results = self.reply, self.results()
        result = result_of(reply, results)
        self._measure(result, results)
        if self.notes:
            self.fields["notes"] = self.notes
        if self.bounce:
            self.fields["notice"] = self.bounce.uuid or reply_text(self.bounce.reply)
        logs.message(
            {
                "id": self.id,
                "session": self.session_id,
                "client": self.client,
                "account": self.account_id,
                "result": result,
                "reason": reply.name,
                "reply": reply_text(reply),
                "mail_from": logs.address(self.envelope.reverse_path),
                "recipients": len(self.envelope.recipients),
                "bytes": self.octets,
                # round() is much slower.
                "ms": int(self.duration * 10_000) / 10,
                "stages": {name: int(seconds * 10_000) / 10 for name, seconds in self.seconds.items()},
                "results": [outcome_fields(outcome) for outcome in sort_for_log(self.outcomes)],
                **self.fields,
            }
        )

    def results(self) -> list[str]:
        """Return the result for each recipient."""
        return ["accepted" if o.is_accepted else "deferred" if o.is_deferred else "refused" for o in self.outcomes]

    def _measure(self, result: str, results: Sequence[str]) -> None:
        metrics.MESSAGES.count(result)
        metrics.MESSAGES_BY_ACCOUNT.count(self.account_id)
        for outcome in results or [result] * len(self.envelope.recipients):
            metrics.RECIPIENTS.count(outcome)
        if result == "refused":
            metrics.REFUSED_BY_ACCOUNT.count(self.account_id)
        elif result == "deferred":
            metrics.DEFERRED_BY_ACCOUNT.count(self.account_id)
        metrics.MESSAGE_BYTES.add(self.octets)
        metrics.MESSAGE_SECONDS.add(self.duration)
        seconds = self.seconds
        waited = seconds.get("sender", 0.0) + seconds.get("api", 0.0)
        metrics.OVERHEAD_SECONDS.add(max(0.0, self.duration - waited))
        for stage in ("parse", "translate"):
            if stage in seconds:
                metrics.STAGE_SECONDS.add(seconds[stage], stage)

    def _trace(self, span: "Span") -> None:
        self.fields |= tracing.ids(span)
        span.set_attributes(
            {
                "smtpgw.message.bytes": self.octets,
                "smtpgw.message.recipients": len(self.envelope.recipients),
                "smtpgw.message.result": result_of(self.reply, self.results()),
                "smtpgw.reply.name": self.reply.name,
                "smtpgw.reply.code": self.reply.code,
            }
        )
        if self.reply.is_temporary:
            tracing.mark_failed(span, self.reply.name)


class Stage:
    """Context manager that measures the stages of a message. A generator-based one would be slower."""

    __slots__ = ("began", "name", "seconds", "trace")

    def __init__(self, seconds: dict[str, float]) -> None:
        self.name = ""
        self.seconds = seconds

    def __enter__(self) -> None:
        self.began = monotonic()

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.seconds[self.name] = monotonic() - self.began


class TracedStage(Stage):
    """Stage with a trace span."""

    def __enter__(self) -> None:
        super().__enter__()
        self.trace = tracing.span(self.name)
        self.trace.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, problem, trace)
        self.trace.__exit__(None, None, None)


def result_of(reply: Reply, results: Sequence[str]) -> str:
    """Return the result of a message, given its reply and the results of its recipients."""
    if reply.is_error:
        return "deferred" if reply.is_temporary else "refused"
    if not results:
        return "discarded"
    return "partial" if "refused" in results else "accepted"


def sort_for_log(outcomes: Sequence[Outcome]) -> Sequence[Outcome]:
    """Return the outcomes in the order of the log. If there are many, the log may omit the last, which are accepted."""
    if len(outcomes) <= MAX_RESULTS_IN_ORDER:
        return outcomes
    return sorted(outcomes, key=lambda outcome: outcome.is_accepted)


def outcome_fields(outcome: Outcome) -> dict[str, str]:
    """Return the log fields of an outcome."""
    to = logs.address(outcome.recipient)
    return {"to": to, "uuid": outcome.uuid} if outcome.is_accepted else {"to": to, "reply": reply_text(outcome.reply)}


def finding_text(finding: Finding) -> str:
    """Return a finding for the log. The names of headers and keys come from the client and may contain addresses."""
    return logs.text(f"{finding.header}: {finding.detail}")


def redact_metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    """Return metadata for the log. Names that become equal by redaction get their position as a suffix."""
    masked: dict[str, str] = {}
    for position, (name, value) in enumerate(metadata.items(), 1):
        key = logs.text(name)
        masked[f"{key} ({position})" if key in masked else key] = logs.text(value)
    return masked


def reply_text(reply: Reply) -> str:
    """Return a reply for the log."""
    return logs.text(f"{reply.code} {reply.status} {reply.text}")


def message_id(raw: bytes) -> str:
    """Return the Message-ID of a message that cannot be parsed; "" when there is none."""
    end = raw.find(b"\r\n\r\n", 0, MAX_SECTION_BYTES)
    found = MESSAGE_ID.search(raw, 0, end if end >= 0 else MAX_SECTION_BYTES)
    return found[1].decode("ascii", "replace").strip() if found else ""
