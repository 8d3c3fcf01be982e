"""Limits of one session: its age, its idle time, its commands before login, and its share of the event loop.

The connection checks them before each command. A session that exceeds a limit ends with `SMTPError` and a 421 reply.
"""

from collections.abc import Callable
from time import monotonic

import gevent

from smtpgw.config.settings import Settings
from smtpgw.core import replies
from smtpgw.core.replies import SMTPError
from smtpgw.telemetry import metrics

# A session that waits for its client checks at this interval whether the worker drains.
MAX_SLICE_SECONDS = 5.0
# The time that a transaction under way has to reach its DATA after the worker began to drain.
MAX_GRACE_SECONDS = 30.0
# Interval and grace are at most this part of the drain, so that 421 is sent before the connection is cut.
DRAIN_PARTS = 4
# After so many commands without a wait, the worker's other sessions have their turn.
COMMANDS_PER_TURN = 20
# Commands before login that are not slowed down. A client needs about half of them, failed logins included.
UNPACED_COMMANDS = 20
# The rate of the commands before login that follow.
COMMANDS_PER_SECOND = 10.0


class SessionLimits:
    """The limits of one session, from the time of its connection."""

    __slots__ = ("_began", "_commands", "_settings", "_stopping", "_stopping_since")

    def __init__(self, settings: Settings, stopping: Callable[[], bool]) -> None:
        """Start the clock of a session. `stopping` returns whether the worker drains."""
        self._settings = settings
        self._stopping = stopping
        self._began = monotonic()
        self._stopping_since: float | None = None
        self._commands = 0

    def idle_seconds(self, *, logged_in: bool) -> float:
        """Return how long to wait for a command."""
        idle = self._settings.idle_timeout_seconds
        return idle if logged_in else min(idle, self._settings.login_idle_timeout_seconds)

    @property
    def slice_seconds(self) -> float:
        """The longest wait before the session checks again whether the worker drains."""
        return min(MAX_SLICE_SECONDS, self._settings.drain_timeout_seconds / DRAIN_PARTS)

    @property
    def _grace_seconds(self) -> float:
        return min(MAX_GRACE_SECONDS, self._settings.drain_timeout_seconds / DRAIN_PARTS)

    def check_deadlines(self, *, logged_in: bool, between_messages: bool) -> None:
        """Check the drain and the session's age. A transaction under way has a grace period; message data has no limit.

        Raises:
            SMTPError: 421 when the session has to end.
        """
        now = monotonic()
        grace = 0.0 if between_messages else self._grace_seconds
        if self._stopping():
            if self._stopping_since is None:
                self._stopping_since = now
            if now - self._stopping_since >= grace:
                raise SMTPError(replies.SHUTTING_DOWN)
        age = now - self._began
        if not logged_in and age > self._settings.login_timeout_seconds:
            metrics.LIMITS.labels("login").inc()
            raise SMTPError(replies.LOGIN_TIMEOUT)
        if age > self._settings.session_timeout_seconds + grace:
            metrics.LIMITS.labels("session").inc()
            raise SMTPError(replies.SESSION_TIMEOUT)

    def check_drain(self) -> None:
        """Check the drain after an interval in which the client sent nothing. There is no grace, even in a transaction.

        Raises:
            SMTPError: 421 when the worker drains.
        """
        if self._stopping():
            raise SMTPError(replies.SHUTTING_DOWN)

    def count_command(self, *, logged_in: bool) -> None:
        """Count a command that was read. Let other sessions run now and then, even when more commands are waiting.

        Raises:
            SMTPError: 421 after too many commands without login, or when the session has to end.
        """
        self._commands += 1
        if not logged_in:
            if self._commands > self._settings.max_commands_before_login:
                metrics.LIMITS.labels("commands").inc()
                raise SMTPError(replies.TOO_MANY_COMMANDS)
            early = self._began + (self._commands - UNPACED_COMMANDS) / COMMANDS_PER_SECOND - monotonic()
            if self._commands > UNPACED_COMMANDS and early > 0:
                gevent.sleep(early)
        if self._commands % COMMANDS_PER_TURN == 0:
            gevent.sleep(0)
            self.check_deadlines(logged_in=logged_in, between_messages=False)
