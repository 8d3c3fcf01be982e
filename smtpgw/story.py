"""What is told of one message when it has been answered: one line in the log, and the metrics."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import monotonic

from smtpgw import logs, metrics
from smtpgw.delivery import Outcome
from smtpgw.dialects import Finding, Options, Verdict
from smtpgw.envelope import Submission
from smtpgw.message import Message
from smtpgw.replies import Reply


class Story:
    """Gathered while a message makes its way; told once, at the end."""

    def __init__(self, submission: Submission) -> None:
        self.began = monotonic()
        self.submission = submission
        self.milliseconds: dict[str, float] = {}
        self.fields: dict[str, object] = {}
        self.results: list[dict[str, str]] = []
        self.refused_some = False

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a part of the way."""
        began = monotonic()
        try:
            yield
        finally:
            self.milliseconds[name] = round((monotonic() - began) * 1000, 1)

    def message(self, mail: Message) -> None:
        self.fields["message_id"] = mail.message_id
        self.fields["attachments"] = len(mail.attachments)
        if mail.notes:
            self.fields["notes"] = mail.notes

    def options(self, options: Options) -> None:
        for finding in options.findings:
            metrics.DIALECTS.labels(finding.dialect, finding.verdict.value).inc()
        warned = [f"{f.header}: {f.detail}" for f in options.findings if f.verdict is Verdict.STRIP_WARN]
        if warned:
            self.fields["lost"] = warned
        if options.metadata:
            self.fields["metadata"] = dict(options.metadata)
        if options.account_id is not None:
            self.fields["sub_account"] = options.account_id

    def refused(self, finding: Finding) -> None:
        """The control header for which the message is refused."""
        metrics.DIALECTS.labels(finding.dialect, finding.verdict.value).inc()
        self.fields["refused"] = f"{finding.header}: {finding.detail}"

    def outcomes(self, outcomes: Sequence[Outcome]) -> None:
        self.refused_some = any(not o.is_accepted for o in outcomes)
        self.results = [
            {"to": logs.address(o.recipient), "uuid": o.uuid}
            if o.is_accepted
            else {"to": logs.address(o.recipient), "reply": f"{o.reply.code} {o.reply.status} {o.reply.text}"}
            for o in outcomes
        ]

    def tell(self, reply: Reply) -> None:
        """Write the line."""
        duration = monotonic() - self.began
        result = self._result(reply)
        metrics.MESSAGES.labels(result).inc()
        metrics.MESSAGE_BYTES.observe(len(self.submission.raw))
        metrics.MESSAGE_SECONDS.observe(duration)
        logs.message(
            id=self.submission.id,
            session=self.submission.session_id,
            account=self.submission.account.id,
            result=result,
            reply=f"{reply.code} {reply.status} {reply.text}",
            sender=logs.address(self.submission.envelope.reverse_path),
            recipients=len(self.submission.envelope.recipients),
            bytes=len(self.submission.raw),
            ms=round(duration * 1000, 1),
            stages=self.milliseconds,
            results=self.results,
            **self.fields,
        )

    def _result(self, reply: Reply) -> str:
        if reply.is_error:
            return "deferred" if reply.is_temporary else "refused"
        if not self.results:
            return "discarded"
        return "partial" if self.refused_some else "accepted"
