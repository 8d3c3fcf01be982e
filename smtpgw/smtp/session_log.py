"""What is told of one session: its lines in the log, and the metrics. `story.py` tells of its messages."""

from datetime import UTC, datetime

from cachetools import TTLCache

from smtpgw.core import replies
from smtpgw.core.addresses import mailbox
from smtpgw.core.models import Account, Peer
from smtpgw.core.networks import client_key
from smtpgw.core.replies import Reply, SMTPError
from smtpgw.telemetry import deferred, logs, metrics

# Replies that say that the client ran into a limit; those told in a line of `limit`, and those told elsewhere.
LIMITS = frozenset(
    {
        "data_timeout", "line_too_long", "message_too_big", "no_room_now", "proxy_header_missing", "proxy_only",
        "share_of_room_taken", "too_many_auth_failures", "too_many_commands", "too_many_errors",
        "too_many_large_messages", "too_many_recipients", "too_many_sessions",
        "too_many_sessions_from_address",
    }
)  # fmt: skip
# Replies that are our fault, or Cakemail's: what the objective calls a failure. What a client does wrong is none, nor
# what is refused for good reason, such as Cakemail's wish that one customer sends less at a time.
FAILURES = frozenset(
    {
        "api_busy", "api_failed", "api_unavailable", "internal_error", "login_unavailable", "no_room_now",
        "outcome_unknown", "still_unknown", "too_many_large_messages", "too_many_sessions",
    }
)  # fmt: skip
TOLD_ELSEWHERE = frozenset({"login_throttled"})
LIMIT_LINE_SECONDS = 10.0  # a client that runs into a limit again and again has a line this often
told_lately: TTLCache[tuple[str, str], bool] = TTLCache(10_000, LIMIT_LINE_SECONDS)


class SessionLog:
    """Of one session with a client."""

    __slots__ = ("account_id", "peer", "session_id")

    def __init__(self, session_id: str, peer: Peer) -> None:
        self.session_id = session_id
        self.peer = peer
        self.account_id: int | None = None

    def reply(self, verb: str, reply: Reply) -> None:
        """A reply was given to a command."""
        metrics.COMMANDS.count(verb, reply.code)
        if verb == "data" and reply.code == 250:
            metrics.OBJECTIVE.count("met")
        elif reply.is_error:
            refused(self.peer, reply, session=self.session_id, account=self.account_id)

    def login(self, mechanism: str, username: str, reply: Reply, account: Account | None) -> None:
        """AUTH was answered."""
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
        self, *, tls: str, messages: int, seconds: float, reason: str, verb: str, detail: str, said_something: bool
    ) -> None:
        """The session is over. One who said nothing is a health check, and of no interest."""
        is_check = self.peer.is_check and not self.account_id
        metrics.SESSIONS_CLOSED.count("check" if is_check else reason)
        metrics.SESSION_SECONDS.add(seconds)
        if reason == "lost":
            metrics.CONNECTIONS_LOST.count(verb)
        now = datetime.now(UTC)
        deferred.submit(  # after the lines of its messages
            lambda: logs.session(
                time=now,
                quiet=is_check or not said_something,
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
    """A username as the log has it; "" where it is no mail address and so may be a password, sent in its place."""
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


def refused(peer: Peer, reply: Reply, **fields: object) -> None:
    """A client was told no, in a session or before there was one."""
    metrics.REFUSALS.count(reply.name)
    if reply.name in FAILURES:
        metrics.OBJECTIVE.count("failed")
    if reply.name not in LIMITS:
        if reply.name in TOLD_ELSEWHERE:
            metrics.LIMITS_BY_CLIENT.count(client_key(peer.address))
        return
    metrics.LIMITS_BY_CLIENT.count(client_key(peer.address))
    key = (peer.address, reply.name)
    if key not in told_lately:
        told_lately[key] = True
        logs.limit(client=peer.address, limit=reply.name, reply=f"{reply.code} {reply.status} {reply.text}", **fields)


REASONS = {
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
}  # and "lost", when the client went without a word
