"""Cakemail's REST API as the gateway uses it: tokens, senders, lists, and the submission of one email.

What can go wrong is translated here, once, into the few errors below, which say what the gateway must know: may this be
tried again, and who is told what.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any
from urllib.parse import urlencode

import orjson

from smtpgw import __version__
from smtpgw.cakemail import bodies
from smtpgw.cakemail.bodies import Sender, Token
from smtpgw.cakemail.errors import (
    Busy,
    ChallengeRequired,
    NotAuthorized,
    NotReached,
    OutcomeUnknown,
    Rejected,
    TryLater,
)
from smtpgw.cakemail.http11 import retry_after
from smtpgw.cakemail.slots import Slots
from smtpgw.cakemail.transport import Answer, ClosedMeanwhile, NotAnswered, NotSent, Transport
from smtpgw.config.settings import Settings
from smtpgw.telemetry import metrics, tracing

JSON, FORM = "application/json", "application/x-www-form-urlencoded"
HEADERS = {"User-Agent": f"cakemail-smtp-gateway/{__version__}", "Accept": JSON}
PER_PAGE = 100
MAX_PAGES = 200
MAX_SENDERS = MAX_PAGES * PER_PAGE
SUBMISSION = "emails"  # the endpoint that must not be called twice
UNVERIFIED = frozenset({"token", "account"})  # endpoints that check credentials
MIN_SECONDS = 0.05  # for the call itself, when it has waited for its turn to the last moment
MAX_WORDS_LENGTH = 400  # of Cakemail's explanation, in a reply
PERMANENT = frozenset({400, 403, 413, 422})  # said of this message: sending it again would end the same


class Cakemail:
    """The API, through one pool of connections a process."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.transport = Transport(
            settings.api_url,
            settings.api_connections,
            settings.api_connect_timeout_seconds,
            settings.api_idle_timeout_seconds,
        )
        self.exchange = tracing.trace_exchange(self.transport.exchange)
        self.slots = Slots(settings.api_connections)
        self.waiting = 0
        metrics.SAMPLED[metrics.API_IN_FLIGHT] = lambda: settings.api_connections - self.slots.counter
        metrics.SAMPLED[metrics.API_WAITING] = lambda: self.waiting

    def close(self) -> None:
        """Close the pool's connections."""
        self.transport.close()

    # --- Tokens and accounts

    def password_token(self, username: str, password: str) -> Token:
        """Log in with an account's email address and password."""
        return self._token({"grant_type": "password", "username": username, "password": password})

    def refreshed_token(self, refresh_token: str) -> Token:
        """Trade a refresh token for a new access token."""
        return self._token({"grant_type": "refresh_token", "refresh_token": refresh_token})

    def _token(self, form: dict[str, str]) -> Token:
        found = self._call("token", "POST", "/token", body=urlencode(form).encode(), content_type=FORM)
        if "challenge" in found:
            raise ChallengeRequired("multi-factor authentication")
        with reading("token"):
            return bodies.token(found)

    def own_account(self, token: str) -> int:
        """The id of the account that an access token belongs to; what checks such a token."""
        found = self._call("account", "GET", "/accounts/self", token=token)
        with reading("account"):
            return int(found["data"]["id"])

    # --- Senders and lists

    def senders(self, token: str, account_id: int | None) -> Iterator[Sender]:
        """All senders of an account, confirmed or not."""
        count = 0
        for page in range(1, MAX_PAGES + 1):
            query = {"page": page, "per_page": PER_PAGE, **acting_for(account_id)}
            found = self._call("senders", "GET", "/brands/default/senders", token=token, query=query)
            with reading("senders"):
                senders, is_last = bodies.senders(found, PER_PAGE)
            # A page that is longer than was asked for must not make the list longer than all pages may be.
            yield from senders[: MAX_SENDERS - count]
            count += len(senders)
            if is_last or count >= MAX_SENDERS:
                return

    def first_active_list(self, token: str, account_id: int | None) -> int | None:
        """The id of the account's oldest active list, or None."""
        query = {"page": 1, "per_page": 1, "filter": "status==active", "sort": "+created_on", **acting_for(account_id)}
        found = self._call("lists", "GET", "/lists", token=token, query=query)
        with reading("lists"):
            return int(found["data"][0]["id"]) if found["data"] else None

    # --- Submission

    def submit_email(self, token: str, body: bytes, account_id: int | None, timeout_seconds: float) -> str:
        """`POST /v2/emails`, for one recipient; the uuid that Cakemail gave the email, "" should it not say.

        Raises:
            ApiError: Rejected also for a 201 whose status is not "queued", which is no acceptance.
        """
        found = self._call(
            SUBMISSION,
            "POST",
            "/v2/emails",
            token=token,
            body=body,
            query=acting_for(account_id),
            timeout_seconds=timeout_seconds,
        )
        with reading("emails"):
            status, uuid = bodies.email(found)
        if status != "queued":
            raise Rejected(str(status)[:MAX_WORDS_LENGTH], 201)
        return uuid

    # --- One call

    def _call(
        self,
        endpoint: str,
        method: str,
        path: str,
        *,
        token: str = "",
        query: dict[str, Any] | None = None,
        body: bytes = b"",
        content_type: str = JSON,
        timeout_seconds: float = 0,
    ) -> Any:
        """Make a call, within a time that waiting for its turn is part of; its answer's JSON. Raises ApiError."""
        headers = {**HEADERS, "Content-Type": content_type} if body else dict(HEADERS)
        if token:
            headers["Authorization"] = f"Bearer {token}"
        target = f"{path}?{urlencode(query)}" if query else path
        seconds = timeout_seconds or self.settings.api_timeout_seconds
        # Calls take turns by account. Those with credentials that may be made up are one owner's, all together.
        owner = "" if endpoint in UNVERIFIED else token
        if not self.slots.acquire(owner):
            waited = self._wait_for_slot(owner, min(seconds, self.settings.api_wait_seconds))
            seconds = max(MIN_SECONDS, seconds - waited)
        began, status = monotonic(), "unanswered"
        try:
            answer = self._exchange(endpoint, method, target, headers, body, began + seconds)
            status = metrics.status_label(answer.status_code)
        except NotSent as problem:
            status = "unreached"
            raise NotReached(str(problem)) from problem
        except NotAnswered as problem:
            raise OutcomeUnknown(str(problem)) from problem
        finally:
            self.slots.release(owner)
            metrics.API_SECONDS.add(monotonic() - began, endpoint, status)
        return read(answer, is_login=endpoint == "token")

    def _exchange(
        self, endpoint: str, method: str, target: str, headers: dict[str, str], body: bytes, deadline: float
    ) -> Answer:
        """Make an exchange; again where an idle connection was closed meanwhile, and no email can be doubled."""
        try:
            return self.exchange(method, target, headers, body, deadline - monotonic())
        except ClosedMeanwhile:
            if endpoint == SUBMISSION:
                raise
            return self.exchange(method, target, headers, body, max(MIN_SECONDS, deadline - monotonic()))

    def _wait_for_slot(self, owner: str, most_seconds: float) -> float:
        """Wait until one of the calls under way has ended; the seconds that took. Raises Busy."""
        began = monotonic()
        self.waiting += 1
        try:
            has_slot = self.slots.acquire(owner, most_seconds)
        finally:
            self.waiting -= 1
            waited = monotonic() - began
            metrics.API_WAIT_SECONDS.add(waited)
        if not has_slot:
            metrics.LIMITS.labels("api_connections").inc()
            raise Busy("too many calls to Cakemail are under way")
        return waited


def acting_for(account_id: int | None) -> dict[str, Any]:
    """The query that makes a call act for a sub-account."""
    return {} if account_id is None else {"account_id": account_id}


def read(answer: Answer, *, is_login: bool) -> Any:
    """The JSON of a good answer; any other one as the error it is."""
    status = answer.status_code
    try:
        found = orjson.loads(answer.content)
    except orjson.JSONDecodeError:
        found = {}
    if is_login and isinstance(found, dict) and "challenge" in found:
        raise ChallengeRequired("multi-factor authentication")
    if status in (200, 201):
        if not isinstance(found, dict) or not found:
            raise OutcomeUnknown("the answer is not JSON")  # accepted, by its status; what it is called, nobody knows
        return found
    if 200 <= status < 300:  # of those that the schema does not have, 202 means accepted
        raise OutcomeUnknown(f"Cakemail answered {status}")
    words, about_recipient = explanation(found)
    if status == 401:
        raise NotAuthorized(words)
    if status in PERMANENT:
        raise Rejected(words or f"Cakemail refused the message ({status})", status, about_recipient=about_recipient)
    raise TryLater(words or f"Cakemail answered {status}", status, retry_after(answer.headers))


def explanation(found: Any) -> tuple[str, bool]:
    """Cakemail's words for what is wrong, and whether they are about the recipient's address."""
    detail = found.get("detail") if isinstance(found, dict) else None
    if isinstance(detail, str):
        return detail[:MAX_WORDS_LENGTH], False
    entries = [e for e in detail if isinstance(e, dict)] if isinstance(detail, list) else []
    places = [e["loc"] for e in entries if isinstance(e.get("loc"), list)]
    about_recipient = any("email" in place and "sender" not in place for place in places)
    return "; ".join(str(e.get("msg", "")) for e in entries)[:MAX_WORDS_LENGTH], about_recipient


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Make an answer that lacks what the schema promises an unknown outcome, not a bug of ours."""
    try:
        yield
    except bodies.MALFORMED as problem:
        raise OutcomeUnknown(f"{what}: the answer is not as the API describes it") from problem
