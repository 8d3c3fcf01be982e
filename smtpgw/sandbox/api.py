"""Cakemail's API, as far as the gateway calls it, plus what shows an email that was submitted."""

from collections.abc import Mapping
from typing import Any, TypeVar
from uuid import UUID, uuid4

from flask import Blueprint, Response, g, request
from pydantic import BaseModel, ValidationError

from smtpgw.sandbox import models
from smtpgw.sandbox.accounts import Account, MailingList, Sender
from smtpgw.sandbox.answers import as_json, refused
from smtpgw.sandbox.emails import Email, received
from smtpgw.sandbox.errors import ApiError, bad_request, forbidden, invalid, malformed, unauthorized
from smtpgw.sandbox.interception import Interception
from smtpgw.sandbox.rendering import rendered
from smtpgw.sandbox.state import State

CREATED_ON = 1_577_836_800  # of every account, seconds since 1970
FORM_TYPES = ("application/x-www-form-urlencoded", "multipart/form-data")
Model = TypeVar("Model", bound=BaseModel)


def read(model: type[Model], given: Mapping[str, Any], where: str) -> Model:
    try:
        return model.model_validate(dict(given))
    except ValidationError as problem:
        raise invalid(problem, where) from None


class Api:
    def __init__(self, state: State) -> None:
        self._state = state

    def blueprint(self) -> Blueprint:
        api = Blueprint("api", __name__)
        api.add_url_rule("/token", view_func=self.token, methods=["POST"])
        api.add_url_rule("/accounts/self", view_func=self.account)
        api.add_url_rule("/brands/default/senders", view_func=self.senders)
        api.add_url_rule("/lists", view_func=self.lists)
        api.add_url_rule("/v2/emails", view_func=self.submit, methods=["POST"])
        api.add_url_rule("/v2/emails/<email_id>", view_func=self.email)
        api.add_url_rule("/v2/emails/<email_id>/render", view_func=self.render)
        api.register_error_handler(ApiError, refused)
        Interception(self._state).attach(api)
        return api

    # --- Authentication ------------------------------------------------------------------------------------------

    def token(self) -> Response:
        read(models.TokenQuery, request.args, "query")
        if request.mimetype not in FORM_TYPES:
            raise malformed("the body must be a form", "body")
        form = read(models.TokenForm, request.form, "body")
        if form.grant_type == "refresh_token":
            account_id = self._state.tokens.account_of(form.refresh_token, "refresh")
            if account_id is None:
                raise unauthorized("Invalid refresh token")
            account = self._state.directory.accounts[account_id]
        else:
            login = self._state.directory.login(form.username, form.password)
            if login is None:
                raise unauthorized("Invalid username or password")
            if login.multi_factor:
                return as_json({"challenge": str(uuid4())}, 401)
            account = login
        return self.token_issued(self.acting(account, form.account_id), form.expiration_seconds)

    def token_issued(self, account: Account, asked_seconds: int | None) -> Response:
        access, refresh, lives = self._state.tokens.issue(account.id, asked_seconds)
        accounts = [account.id, *account.may_act_for]
        return as_json(
            {
                "access_token": access,
                "token_type": "bearer",
                "expires_in": int(lives),
                "refresh_token": refresh,
                "accounts": accounts,
            }
        )

    def acting(self, account: Account, account_id: int | None) -> Account:
        """The account that is meant, when `account` may act for it."""
        if account_id in (None, account.id):
            return account
        if account_id not in account.may_act_for:
            raise forbidden("You are not allowed to act for this account")
        return self._state.directory.accounts[account_id]

    def authorized(self, account_id: int | None = None) -> Account:
        """The account of the bearer token, or the one it acts for."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.casefold() != "bearer" or not token:
            raise unauthorized("Not authenticated")
        known = self._state.tokens.account_of(token.strip(), "access", "long_lived")
        if known is None:
            raise unauthorized("Invalid or expired token")
        return self.acting(self._state.directory.accounts[known], account_id)

    # --- What an account has -------------------------------------------------------------------------------------

    def account(self) -> Response:
        account = self.authorized()
        return as_json(
            {
                "data": {
                    "id": str(account.id),
                    "lineage": str(account.id),
                    "status": "active",
                    "name": account.name,
                    "address": {},
                    "account_owner": {},
                    "logo": "",
                    "usage_limits": {"use_email_api": True},
                    "last_activity_on": CREATED_ON,
                    "created_on": CREATED_ON,
                    "partner": False,
                    "organization": bool(account.may_act_for),
                    "overrides": {
                        "bypass_recaptcha": False,
                        "inject_address": False,
                        "inject_unsubscribe_link": False,
                    },
                }
            }
        )

    def senders(self) -> Response:
        query = read(models.SendersQuery, request.args, "query")
        account = self.authorized(query.account_id)
        return page([shown_sender(s) for s in self._state.directory.senders(account.id)], query, query.sort)

    def lists(self) -> Response:
        query = read(models.ListsQuery, request.args, "query")
        account = self.authorized(query.account_id)
        wanted = [term.split("==", 1) for term in query.filter.split(";") if term]
        shown = [shown_list(each) for each in account.lists]
        return page([each for each in shown if all(each[n] == v for n, v in wanted)], query, query.sort)

    # --- Emails --------------------------------------------------------------------------------------------------

    def submit(self) -> Response:
        account = self.authorized(read(models.AccountQuery, request.args, "query").account_id)
        if request.mimetype != "application/json":
            raise malformed("the body must be application/json", "body")
        body = request.get_data()
        try:
            mail = models.SubmitEmail.model_validate_json(body)
        except ValidationError as problem:
            raise invalid(problem, "body") from None
        sender = self.checked(account, mail)
        status = g.rule.what if g.rule and g.rule.what in ("rejected", "error") else "queued"
        email = received(account, sender, mail, body, status)
        g.recipient = email.email
        self._state.emails.add(email)
        if status == "queued":
            self._state.ledger.accept(email)
        data = {"id": email.id, "status": status}
        return as_json({"email": email.email, "object": "email", "submitted": True, "data": data}, 201)

    def checked(self, account: Account, mail: models.SubmitEmail) -> Sender:
        """The sender of an email that the account may submit."""
        sender = self._state.directory.sender(account.id, mail.sender.id)
        if sender is None:
            raise bad_request("Sender not found", "body", "sender", "id")
        if not sender.confirmed:
            raise bad_request("Sender is not confirmed", "body", "sender", "id")
        if not mail.email:
            raise bad_request("There is no such contact; give an email", "body", "email")
        if not (mail.content.html or mail.content.text or "template" in mail.content.model_fields_set):
            raise bad_request("Content needs html, text or a template", "body", "content")
        if not mail.list_id and account.list_required:
            raise bad_request("This account needs a list_id", "body", "list_id")
        if mail.list_id:
            known = next((each for each in account.lists if each.id == mail.list_id), None)
            if known is None:
                raise bad_request("List not found", "body", "list_id")
            if known.status != "active":
                raise bad_request("List is not active", "body", "list_id")
        return sender

    def email(self, email_id: str) -> Response:
        query = read(models.AccountQuery, request.args, "query")
        return as_json(shown_email(self.found(email_id, query.account_id)))

    def render(self, email_id: str) -> Response:
        query = read(models.RenderQuery, request.args, "query")
        return rendered(self.found(email_id, query.account_id))

    def found(self, email_id: str, account_id: int | None) -> Email:
        account = self.authorized(account_id)
        try:
            email = self._state.emails.get(str(UUID(email_id)))
        except ValueError:
            raise malformed("value is not a valid uuid", "path", "email_id") from None
        if email is None or email.account_id != account.id:
            raise bad_request("Email not found", "path", "email_id")
        return email


def page(items: list[dict[str, Any]], query: models.PageQuery, sort: str) -> Response:
    """One page of `items`; the sort term is `name`, `-name` or `+name`."""
    if sort:
        term = sort.lstrip("+- ")
        items = sorted(items, key=lambda item: item[term], reverse=sort.startswith("-"))
    first = (query.page - 1) * query.per_page
    pagination = {"page": query.page, "per_page": query.per_page}
    if query.with_count:
        pagination["count"] = len(items)
    return as_json({"pagination": pagination, "data": items[first : first + query.per_page]})


def shown_sender(sender: Sender) -> dict[str, Any]:
    shown = {"id": sender.id, "name": sender.name, "email": sender.email, "confirmed": sender.confirmed}
    return {**shown, "language": "en_US", **({"confirmed_on": CREATED_ON} if sender.confirmed else {})}


def shown_list(each: MailingList) -> dict[str, Any]:
    sender = {"name": each.sender.name, "email": each.sender.email}
    shown = {"id": each.id, "name": each.name, "status": each.status, "language": "en_US"}
    return {**shown, "created_on": each.created_on, "default_sender": sender}


def shown_email(email: Email) -> dict[str, Any]:
    body = email.request()
    content = body["content"]
    tracking = body.get("tracking", {})
    return {
        "email_id": email.id,
        "status": email.status,
        "email": email.email,
        "submitted_time": int(email.received_at),
        **({"list_id": body["list_id"]} if "list_id" in body else {}),
        "tags": list(email.tags),
        "sender": {"id": email.sender.id, "name": email.sender.name, "email": email.sender.email},
        "content": {"subject": email.subject, "type": content["type"]},
        "tracking": {name: tracking.get(name, True) for name in ("opens", "clicks_html", "clicks_text")},
        "additional_headers": body.get("additional_headers", []),
    }
