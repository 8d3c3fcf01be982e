"""The log lines and metrics of one session. Those of its messages are in `submission/message_log.py`."""

from datetime import UTC, datetime

from cachetools import TTLCache

from smtpgw.core import replies
from smtpgw.core.addresses import mailbox
from smtpgw.core.models import Account, Peer
from smtpgw.core.networks import client_key
from smtpgw.core.replies import Reply, SMTPError
from smtpgw.telemetry import deferred, logs, metrics

# Replies to a client that exceeds a limit and that are logged in a `limit` line here.
LIMITS = frozenset(
    {
        "data_timeout", "line_too_long", "message_too_big", "no_room_now", "proxy_header_missing", "proxy_only",
        "share_of_room_taken", "too_many_auth_failures", "too_many_commands", "too_many_errors",
        "too_many_large_messages", "too_many_recipients", "too_many_sessions",
        "too_many_sessions_from_address",
    }
)  # fmt: skip
# Replies to failures of the gateway or of Cakemail. They count against the service-level objective. A client's mistake
# does not, nor does a justified rejection, such as Cakemail's rate limit for one customer.
FAILURES = frozenset(
    {
        "api_busy", "api_failed", "api_unavailable", "internal_error", "login_unavailable", "no_room_now",
        "outcome_unknown", "still_unknown", "too_many_large_messages", "too_many_sessions",
    }
)  # fmt: skip
# Replies to a client that exceeds a limit and that another module logs.
LOGGED_ELSEWHERE = frozenset({"login_throttled"})
# A client that exceeds the same limit repeatedly is logged at this interval.
LIMIT_LINE_INTERVAL_SECONDS = 10.0
MAX_LIMIT_LINES = 10_000
recently_logged: TTLCache[tuple[str, str], bool] = TTLCache(MAX_LIMIT_LINES, LIMIT_LINE_INTERVAL_SECONDS)


class SessionLog:
    """The log of one session with a client."""

    __slots__ = ("account_id", "peer", "session_id")

    def __init__(self, session_id: str, peer: Peer) -> None:
        self.session_id = session_id
        self.peer = peer
        self.account_id: int | None = None

    def reply(self, verb: str, reply: Reply) -> None:
        """Record the reply to a command."""
        metrics.COMMANDS.count(verb, reply.code)
        if verb == "data" and reply.code == 250:
            metrics.OBJECTIVE.count("met")
        elif reply.is_error:
            record_rejection(self.peer, reply, session=self.session_id, account=self.account_id)

    def login(self, mechanism: str, username: str, reply: Reply, account: Account | None) -> None:
        """Record the result of an AUTH command."""
        result = "done" if account else LOGIN_RESULTS.get(reply.name, "malformed")
        metrics.AUTH.count(result)
        self.account_id = account.id if account else None
        now, account_id = datetime.now(UTC), self.account_id
        deferred.submit(
            lambda: logs.auth(
                time=now,
                session=self.session_id,
                client=self.peer.address,
                result=result,
                account=account_id,
                username=username_in_log(username),
                mechanism=mechanism,
            )
        )

    def end(
        self, *, tls: str, messages: int, seconds: float, reason: str, verb: str, detail: str, is_active: bool
    ) -> None:
        """Record the end of the session. A client that sent nothing is a health check and is logged at debug level."""
        is_check = self.peer.is_check and not self.account_id
        metrics.SESSIONS_CLOSED.count("check" if is_check else reason)
        metrics.SESSION_SECONDS.add(seconds)
        if reason == "lost":
            metrics.CONNECTIONS_LOST.count(verb)
        now = datetime.now(UTC)
        # Deferred like the lines of the session's messages, so that it follows them.
        deferred.submit(
            lambda: logs.session(
                time=now,
                quiet=is_check or not is_active,
                session=self.session_id,
                client=self.peer.address,
                account=self.account_id,
                tls=tls,
                messages=messages,
                seconds=round(seconds, 3),
                reason=reason,
                detail=detail,
            )
        )


def username_in_log(username: str) -> str:
    """Return a user name for the log, "" when it is not a mail address, because it may then be a password."""
    try:
        mailbox(username)
    except SMTPError:
        return ""
    return logs.address(username)


LOGIN_RESULTS = {
    "bad_credentials": "refused",
    "challenge_required": "refused",
    "control_in_credentials": "refused",
    "login_throttled": "throttled",
    "login_unavailable": "unavailable",
}


def record_rejection(peer: Peer, reply: Reply, **fields: object) -> None:
    """Record an error reply to a client, within a session or before it begins."""
    metrics.REFUSALS.count(reply.name)
    if reply.name in FAILURES:
        metrics.OBJECTIVE.count("failed")
    if reply.name not in LIMITS:
        if reply.name in LOGGED_ELSEWHERE:
            metrics.LIMITS_BY_CLIENT.count(client_key(peer.address))
        return
    metrics.LIMITS_BY_CLIENT.count(client_key(peer.address))
    key = (peer.address, reply.name)
    if key not in recently_logged:
        recently_logged[key] = True
        logs.limit(client=peer.address, limit=reply.name, reply=f"{reply.code} {reply.status} {reply.text}", **fields)


# The reason that the metrics and the log give for the end of a session, by the reply that ends it. The reason is "lost"
# when the client closed the connection without QUIT.
CLOSE_REASONS = {
    replies.GOODBYE: "quit",
    replies.SHUTTING_DOWN: "drain",
    replies.IDLE_TIMEOUT: "idle",
    replies.SESSION_TIMEOUT: "age",
    replies.LOGIN_TIMEOUT: "age",
    replies.TOO_MANY_COMMANDS: "commands",
    replies.DATA_TIMEOUT: "data_rate",
    replies.TOO_MANY_ERRORS: "errors",
    replies.TOO_MANY_AUTH_FAILURES: "auth_failures",
    replies.NOT_SMTP: "not_smtp",
}
