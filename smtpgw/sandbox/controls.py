"""What tests steer the sandbox with, under /_sandbox: emails, ledger, calls, times, faults, senders, tokens."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated, Any, Literal

from flask import Blueprint, Response, request
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from smtpgw.sandbox.accounts import DEMO
from smtpgw.sandbox.answers import as_json, refused
from smtpgw.sandbox.api import Model, read
from smtpgw.sandbox.emails import Email
from smtpgw.sandbox.errors import ApiError, invalid, malformed
from smtpgw.sandbox.faults import Rule
from smtpgw.sandbox.models import Address, Text
from smtpgw.sandbox.state import State


class Control(BaseModel):
    """A body or query of a control: what it does not know is a mistake in a test, and refused."""

    model_config = ConfigDict(extra="forbid")


class EmailsQuery(Control):
    email: str | None = None
    subject: str | None = None
    status: Literal["queued", "rejected", "error"] | None = None
    account_id: int | None = None
    limit: Annotated[int, Field(ge=1)] = 1000
    bodies: bool = True  # html, text and the content of attachments


class LedgerQuery(Control):
    email: str | None = None
    subject: str | None = None
    duplicates: bool = False  # only what was accepted more than once
    limit: Annotated[int | None, Field(ge=0)] = None


class TimesQuery(Control):
    recipients: list[list[str]]  # of each message


class NewSender(Control):
    email: Address
    name: Text = "Added Sender"
    confirmed: bool = True
    account_id: int = DEMO.id


class TokenLife(Control):
    expires_in: Annotated[float | None, Field(gt=0)]  # seconds; null for as long as is usual


class ResetQuery(Control):
    keep_tokens: bool = False  # those that were issued


class RevokeQuery(Control):
    account_id: int | None = None
    kind: Literal["access", "refresh", "long_lived"] | None = None


def read_json(model: type[Model]) -> Model:
    # The type makes a browser ask before it sends such a request from another site's page.
    if request.mimetype != "application/json":
        raise malformed("the body must be application/json", "body")
    try:
        return model.model_validate_json(request.get_data())
    except ValidationError as problem:
        raise invalid(problem, "body") from None


class Controls:
    def __init__(self, state: State) -> None:
        self._state = state

    def blueprint(self) -> Blueprint:
        controls = Blueprint("controls", __name__, url_prefix="/_sandbox")
        routes: list[tuple[str, str, Callable[[], Response]]] = [
            ("DELETE", "", self.reset),
            ("GET", "/emails", self.emails),
            ("DELETE", "/emails", self.clear_emails),
            ("GET", "/ledger", self.ledger),
            ("GET", "/calls", self.calls),
            ("DELETE", "/calls", self.clear_calls),
            ("POST", "/times", self.times),
            ("GET", "/faults", self.faults),
            ("POST", "/faults", self.add_fault),
            ("DELETE", "/faults", self.clear_faults),
            ("POST", "/senders", self.put_sender),
            ("POST", "/tokens", self.limit_tokens),
            ("DELETE", "/tokens", self.revoke_tokens),
        ]
        for method, path, view in routes:
            controls.add_url_rule(path, view_func=view, methods=[method])
        controls.register_error_handler(ApiError, refused)
        return controls

    def reset(self) -> Response:
        if read(ResetQuery, request.args, "query").keep_tokens:
            self._state.clear()
        else:
            self._state.reset()
        return as_json({})

    def emails(self) -> Response:
        query = read(EmailsQuery, request.args, "query")
        found = (email for email in self._state.emails if wanted(email, query))
        shown = [shown_email(email, bodies=query.bodies) for email, _ in zip(found, range(query.limit), strict=False)]
        return as_json(shown)

    def clear_emails(self) -> Response:
        self._state.emails.clear()
        self._state.ledger.clear()
        return as_json({})

    def ledger(self) -> Response:
        query = read(LedgerQuery, request.args, "query")
        ledger = self._state.ledger
        entries = [
            {**asdict(entry), "count": len(entry.ids)}
            for entry in ledger
            if query.email in (None, entry.email)
            and query.subject in (None, entry.subject)
            and len(entry.ids) > query.duplicates
        ]
        counts = {"total": ledger.total, "distinct": len(ledger) + ledger.forgotten, "duplicates": ledger.duplicates}
        return as_json({**counts, "forgotten": ledger.forgotten, "entries": entries[: query.limit]})

    def calls(self) -> Response:
        return as_json(self._state.calls.described())

    def clear_calls(self) -> Response:
        self._state.calls.clear()
        return as_json({})

    def times(self) -> Response:
        """How long the API had each message to these recipients, in milliseconds; null where it does not know."""
        return as_json([self._state.clock.milliseconds(each) for each in read_json(TimesQuery).recipients])

    def faults(self) -> Response:
        return as_json(self._state.faults.described())

    def add_fault(self) -> Response:
        return as_json(self._state.faults.add(read_json(Rule)).described(), 201)

    def clear_faults(self) -> Response:
        self._state.faults.clear()
        return as_json({})

    def put_sender(self) -> Response:
        new = read_json(NewSender)
        if new.account_id not in self._state.directory.accounts:
            raise malformed("no such account", "body", "account_id")
        sender = self._state.directory.put_sender(new.account_id, new.email, new.name, confirmed=new.confirmed)
        return as_json(asdict(sender), 201)

    def limit_tokens(self) -> Response:
        self._state.tokens.lifetime_seconds = read_json(TokenLife).expires_in
        return as_json({})

    def revoke_tokens(self) -> Response:
        query = read(RevokeQuery, request.args, "query")
        return as_json({"revoked": self._state.tokens.revoke(query.account_id, query.kind)})


def wanted(email: Email, query: EmailsQuery) -> bool:
    return (
        (query.email is None or query.email.casefold() == email.email.casefold())
        and query.subject in (None, email.subject)
        and query.status in (None, email.status)
        and query.account_id in (None, email.account_id)
    )


def shown_email(email: Email, *, bodies: bool) -> dict[str, Any]:
    """An email for a test or a person: what was received, and what is known of it."""
    received = email.request()
    if not bodies:
        received["content"] = {k: v for k, v in received["content"].items() if k not in ("html", "text")}
        received.pop("attachment", None)
    return {
        "id": email.id,
        "account_id": email.account_id,
        "received_at": email.received_at,
        "status": email.status,
        "email": email.email,
        "sender": asdict(email.sender),
        "subject": email.subject,
        "tags": email.tags,
        "message_id": email.message_id,
        "attachments": [asdict(each) for each in email.attachments],
        "unknown_fields": email.unknown_fields,
        "request": received,
    }
