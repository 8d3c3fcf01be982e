"""Client of Cakemail's REST API: tokens, senders, lists, and the submission of one email.

Every failure becomes one of the exceptions in `errors`, which say whether the call may be repeated and what to reply.
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
# The endpoint that must not be called twice.
SUBMISSION = "emails"
# Endpoints that check credentials, which are not verified yet.
CREDENTIAL_ENDPOINTS = frozenset({"token", "account"})
# Time for the call itself, when nearly all of its time was spent waiting for a slot.
MIN_CALL_SECONDS = 0.05
# Limit for Cakemail's explanation in a reply.
MAX_REASON_CHARACTERS = 400
# These answers concern the message itself, so a retry would get the same answer.
PERMANENT = frozenset({400, 403, 413, 422})


class Cakemail:
    """The API, through one pool of connections per process."""

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
        metrics.SAMPLED[metrics.API_IN_FLIGHT] = lambda: settings.api_connections - self.slots.free
        metrics.SAMPLED[metrics.API_WAITING] = lambda: self.waiting

    def close(self) -> None:
        """Close the pool's connections."""
        self.transport.close()

    # --- Tokens and accounts

    def password_token(self, username: str, password: str) -> Token:
        """Log in with an account's email address and password."""
        return self._token({"grant_type": "password", "username": username, "password": password})

    def refreshed_token(self, refresh_token: str) -> Token:
        """Exchange a refresh token for a new access token."""
        return self._token({"grant_type": "refresh_token", "refresh_token": refresh_token})

    def _token(self, form: dict[str, str]) -> Token:
        found = self._call("token", "POST", "/token", body=urlencode(form).encode(), content_type=FORM)
        if "challenge" in found:
            raise ChallengeRequired("multi-factor authentication")
        with checking_schema("token"):
            return bodies.token(found)

    def own_account(self, token: str) -> int:
        """Return the id of the account that an access token belongs to. This call verifies the token."""
        found = self._call("account", "GET", "/accounts/self", token=token)
        with checking_schema("account"):
            return int(found["data"]["id"])

    # --- Senders and lists

    def senders(self, token: str, account_id: int | None, owner: str = "") -> Iterator[Sender]:
        """Yield all senders of an account, confirmed or not. `owner`: see `submit_email`."""
        count = 0
        for page in range(1, MAX_PAGES + 1):
            query = {"page": page, "per_page": PER_PAGE, **acting_for(account_id)}
            found = self._call("senders", "GET", "/brands/default/senders", token=token, query=query, owner=owner)
            with checking_schema("senders"):
                senders, is_last = bodies.senders(found, PER_PAGE)
            # A page that is longer than requested must not make the list longer than its limit.
            yield from senders[: MAX_SENDERS - count]
            count += len(senders)
            if is_last or count >= MAX_SENDERS:
                return

    def first_active_list(self, token: str, account_id: int | None, owner: str = "") -> int | None:
        """Return the id of the account's oldest active list, or None. `owner`: see `submit_email`."""
        query = {"page": 1, "per_page": 1, "filter": "status==active", "sort": "+created_on", **acting_for(account_id)}
        found = self._call("lists", "GET", "/lists", token=token, query=query, owner=owner)
        with checking_schema("lists"):
            return int(found["data"][0]["id"]) if found["data"] else None

    # --- Submission

    def submit_email(
        self, token: str, body: bytes, account_id: int | None, timeout_seconds: float, owner: str = ""
    ) -> str:
        """Submit an email to one recipient (`POST /v2/emails`).

        Args:
            token: the access token.
            body: the request, as JSON.
            account_id: the sub-account to act for, or None.
            timeout_seconds: the time that the call may take.
            owner: whose slot the call takes. An account may have several tokens; without an owner each has a share.

        Returns:
            Cakemail's uuid of the email, or "" when the answer contains none.

        Raises:
            ApiError: Rejected also for a 201 whose status is not "queued", since this is no acceptance.
        """
        found = self._call(
            SUBMISSION,
            "POST",
            "/v2/emails",
            token=token,
            body=body,
            query=acting_for(account_id),
            timeout_seconds=timeout_seconds,
            owner=owner,
        )
        with checking_schema("emails"):
            status, uuid = bodies.email(found)
        if status != "queued":
            raise Rejected(str(status)[:MAX_REASON_CHARACTERS], 201)
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
        owner: str = "",
    ) -> Any:
        """Make a call and return the JSON of its answer. Raises ApiError.

        The time-out includes the wait for a slot.
        """
        headers = {**HEADERS, "Content-Type": content_type} if body else dict(HEADERS)
        if token:
            headers["Authorization"] = f"Bearer {token}"
        target = f"{path}?{urlencode(query)}" if query else path
        seconds = timeout_seconds or self.settings.api_timeout_seconds
        # Calls take turns by account. Calls with unverified credentials share one turn, since anybody can make them up.
        owner = "" if endpoint in CREDENTIAL_ENDPOINTS else owner or token
        if not self.slots.acquire(owner):
            waited = self._wait_for_slot(owner, min(seconds, self.settings.api_wait_seconds))
            seconds = max(MIN_CALL_SECONDS, seconds - waited)
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
        return decode(answer, is_login=endpoint == "token")

    def _exchange(
        self, endpoint: str, method: str, target: str, headers: dict[str, str], body: bytes, deadline: float
    ) -> Answer:
        """Make an exchange. Repeat it when the idle connection was closed, unless this could duplicate an email."""
        try:
            return self.exchange(method, target, headers, body, deadline - monotonic())
        except ClosedMeanwhile:
            if endpoint == SUBMISSION:
                raise
            return self.exchange(method, target, headers, body, max(MIN_CALL_SECONDS, deadline - monotonic()))

    def _wait_for_slot(self, owner: str, timeout_seconds: float) -> float:
        """Wait until a call in progress has ended, and return the seconds waited. Raises Busy."""
        began = monotonic()
        self.waiting += 1
        try:
            has_slot = self.slots.acquire(owner, timeout_seconds)
        finally:
            self.waiting -= 1
            waited = monotonic() - began
            metrics.API_WAIT_SECONDS.add(waited)
        if not has_slot:
            metrics.LIMITS.labels("api_connections").inc()
            raise Busy("too many calls to Cakemail are under way")
        return waited


def acting_for(account_id: int | None) -> dict[str, Any]:
    """Return the query that makes a call act for a sub-account."""
    return {} if account_id is None else {"account_id": account_id}


def decode(answer: Answer, *, is_login: bool) -> Any:
    """Return the JSON of a successful answer. Raises ApiError for any other answer."""
    status = answer.status_code
    try:
        found = orjson.loads(answer.content)
    except orjson.JSONDecodeError:
        found = {}
    if is_login and isinstance(found, dict) and "challenge" in found:
        raise ChallengeRequired("multi-factor authentication")
    if status in (200, 201):
        if not isinstance(found, dict) or not found:
            # The status means that the request was accepted, but the answer has no readable content.
            raise OutcomeUnknown("the answer is not JSON")
        return found
    # The schema has no other 2xx answers. Among them, 202 means that the request was accepted.
    if 200 <= status < 300:
        raise OutcomeUnknown(f"Cakemail answered {status}")
    reason, about_recipient = error_reason(found)
    if status == 401:
        raise NotAuthorized(reason)
    if status in PERMANENT:
        raise Rejected(reason or f"Cakemail refused the message ({status})", status, about_recipient=about_recipient)
    raise TryLater(reason or f"Cakemail answered {status}", status, retry_after(answer.headers))


def error_reason(found: Any) -> tuple[str, bool]:
    """Return Cakemail's explanation of an error, and whether it concerns the recipient's address."""
    detail = found.get("detail") if isinstance(found, dict) else None
    if isinstance(detail, str):
        return detail[:MAX_REASON_CHARACTERS], False
    entries = [e for e in detail if isinstance(e, dict)] if isinstance(detail, list) else []
    places = [e["loc"] for e in entries if isinstance(e.get("loc"), list)]
    about_recipient = any("email" in place and "sender" not in place for place in places)
    return "; ".join(str(e.get("msg", "")) for e in entries)[:MAX_REASON_CHARACTERS], about_recipient


@contextmanager
def checking_schema(what: str) -> Iterator[None]:
    """Raise OutcomeUnknown when an answer lacks what the schema promises; this is no bug of the gateway."""
    try:
        yield
    except bodies.MALFORMED as problem:
        raise OutcomeUnknown(f"{what}: the answer is not as the API describes it") from problem
