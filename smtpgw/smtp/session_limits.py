"""What one session may take of time and of the worker: its age, its silence, commands before login, turns of the loop.

The session's connection asks before each command. Whatever is over leaves as `SMTPError` with a 421.
"""

from collections.abc import Callable
from time import monotonic

import gevent

from smtpgw.config.settings import Settings
from smtpgw.core import replies
from smtpgw.core.replies import SMTPError
from smtpgw.telemetry import metrics

MAX_SLICE_SECONDS = 5.0  # how often a waiting session looks whether the worker drains
MAX_GRACE_SECONDS = 30.0  # in which a transaction under way has to come to its DATA
DRAIN_PARTS = 4  # slice and grace are this part of a short drain, so that 421 is said before the connection is cut
COMMANDS_A_TURN = 20  # then the worker's other sessions have theirs
PROMPT_COMMANDS = 20  # before login; what a client needs is ten at most, with a failed login or two
COMMANDS_PER_SECOND = 10.0  # of those after them, since the session began


class SessionLimits:
    """The limits of one session, from its connection on."""

    __slots__ = ("_began", "_commands", "_settings", "_stopping", "_stopping_since")

    def __init__(self, settings: Settings, stopping: Callable[[], bool]) -> None:
        self._settings = settings
        self._stopping = stopping  # whether the worker takes no more messages
        self._began = monotonic()
        self._stopping_since: float | None = None  # when that was seen first
        self._commands = 0

    def idle_seconds(self, *, logged_in: bool) -> float:
        """Return how long to wait for a command."""
        idle = self._settings.idle_timeout_seconds
        return idle if logged_in else min(idle, self._settings.login_idle_timeout_seconds)

    @property
    def slice_seconds(self) -> float:
        """How long to wait at most before looking whether the worker drains."""
        return min(MAX_SLICE_SECONDS, self._settings.drain_timeout_seconds / DRAIN_PARTS)

    @property
    def _grace_seconds(self) -> float:
        return min(MAX_GRACE_SECONDS, self._settings.drain_timeout_seconds / DRAIN_PARTS)

    def check_time(self, *, logged_in: bool, between_messages: bool) -> None:
        """Check the drain and the session's age. A transaction under way has some grace; message data is not asked for.

        Raises:
            SMTPError: 421, when the session has to end.
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

    def check_silence(self) -> None:
        """Check the drain after a slice in which the client said nothing, inside a transaction too.

        Raises:
            SMTPError: 421, when the worker drains.
        """
        if self._stopping():
            raise SMTPError(replies.SHUTTING_DOWN)

    def count_command(self, *, logged_in: bool) -> None:
        """Count a command that has been read; let other sessions go on after some, whatever this one has sent ahead.

        Raises:
            SMTPError: 421, after too many commands without login, or when the session has to end.
        """
        self._commands += 1
        if not logged_in:
            if self._commands > self._settings.max_commands_before_login:
                metrics.LIMITS.labels("commands").inc()
                raise SMTPError(replies.TOO_MANY_COMMANDS)
            early = self._began + (self._commands - PROMPT_COMMANDS) / COMMANDS_PER_SECOND - monotonic()
            if self._commands > PROMPT_COMMANDS and early > 0:
                gevent.sleep(early)
        if self._commands % COMMANDS_A_TURN == 0:
            gevent.sleep(0)
            self.check_time(logged_in=logged_in, between_messages=False)
