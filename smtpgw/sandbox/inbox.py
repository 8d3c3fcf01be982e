"""The inbox page: what was submitted, for people. Works without JavaScript and without a network."""

import datetime
from base64 import b64decode
from typing import Any

from flask import Blueprint, Response, render_template, request
from pydantic_core import to_json
from werkzeug.exceptions import NotFound

from smtpgw import __version__
from smtpgw.sandbox.accounts import DEMO, SENDER
from smtpgw.sandbox.emails import Email
from smtpgw.sandbox.rendering import rendered
from smtpgw.sandbox.state import State

PER_PAGE = 50
# Nothing from elsewhere, no script at all; the only frame is the email, which has a policy of its own.
POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self' data:; frame-src 'self';"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


class Inbox:
    def __init__(self, state: State) -> None:
        self._state = state

    def blueprint(self) -> Blueprint:
        inbox = Blueprint("inbox", __name__, template_folder="templates", static_folder="static")
        inbox.add_url_rule("/", view_func=self.list)
        inbox.add_url_rule("/emails/<email_id>", view_func=self.email)
        inbox.add_url_rule("/emails/<email_id>/render", view_func=self.render)
        inbox.add_url_rule("/emails/<email_id>/request.json", view_func=self.request)
        inbox.add_url_rule("/emails/<email_id>/attachments/<int:place>", view_func=self.attachment)
        inbox.add_app_template_filter(moment)
        inbox.add_app_template_filter(size)
        return inbox

    def list(self) -> Response:
        words = request.args.get("q", "").strip()
        page = max(1, request.args.get("page", 1, type=int))
        found = [email for email in self._state.emails if speaks_of(email, words.casefold())]
        return shown(
            "inbox.html",
            emails=found[(page - 1) * PER_PAGE : page * PER_PAGE],
            found=len(found),
            kept=len(self._state.emails),
            accepted=self._state.ledger.total,
            words=words,
            page=page,
            pages=max(1, -(-len(found) // PER_PAGE)),
            faults=self._state.faults.described(),
        )

    def email(self, email_id: str) -> Response:
        email = self.found(email_id)
        body = email.request()
        return shown(
            "email.html",
            email=email,
            received=body,
            account=self._state.directory.accounts[email.account_id],
            json=to_json(abridged(body, email), indent=2, inf_nan_mode="constants").decode(),
        )

    def render(self, email_id: str) -> Response:
        return rendered(self.found(email_id))

    def request(self, email_id: str) -> Response:
        return Response(self.found(email_id).body, mimetype="application/json")

    def attachment(self, email_id: str, place: int) -> Response:
        email = self.found(email_id)
        if place >= len(email.attachments):
            raise NotFound("There is no such attachment.")
        given = email.request()["attachment"]
        one = given[place] if isinstance(given, list) else given
        answer = Response(b64decode(one["content"]), mimetype="application/octet-stream")
        answer.headers["Content-Disposition"] = f'attachment; filename="{one["filename"]}"'  # no quotes: FILENAME
        answer.headers["X-Content-Type-Options"] = "nosniff"
        return answer

    def found(self, email_id: str) -> Email:
        email = self._state.emails.get(email_id)
        if email is None:
            raise NotFound("There is no such email; the sandbox keeps the last ones, in memory.")
        return email


def shown(template: str, **values: Any) -> Response:
    demo = {"demo": DEMO, "sender": SENDER, "url": request.host_url.rstrip("/"), "version": __version__}
    answer = Response(render_template(template, **demo, **values), mimetype="text/html")
    answer.headers["Content-Security-Policy"] = POLICY
    answer.headers["X-Content-Type-Options"] = "nosniff"
    answer.headers["Referrer-Policy"] = "no-referrer"
    answer.headers["Cache-Control"] = "no-store"
    return answer


def speaks_of(email: Email, words: str) -> bool:
    texts = (email.email, email.subject, email.sender.email, email.sender.name, *email.tags)
    return not words or any(words in text.casefold() for text in texts)


def abridged(body: dict[str, Any], email: Email) -> dict[str, Any]:
    """The request without the base64 of its attachments, which nobody reads."""
    given = body.get("attachment", [])
    sizes = [f"({size(each.size_bytes)} in base64)" for each in email.attachments]
    parts = [
        {**one, "content": text} for one, text in zip(given if isinstance(given, list) else [given], sizes, strict=True)
    ]
    return {**body, "attachment": parts} if parts else body


def moment(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds).astimezone().strftime("%d %b %Y, %H:%M:%S")


def size(octets: int) -> str:
    if octets < 1000:
        return f"{octets} B"
    return f"{octets / 1000:.1f} kB" if octets < 1_000_000 else f"{octets / 1_000_000:.1f} MB"
