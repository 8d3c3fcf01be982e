"""Who sends: applications one message at a time, campaigns many at once, and both make mistakes now and then.

The rate is exact, and when messages come is as good as chance: a user's time is cut into slots of the same length, and
each slot has one message, or one burst of a campaign, at a random moment of it.
"""

import random
from collections.abc import Callable
from time import monotonic

import gevent
from _connection import AUTH, CONNECT, ENDED, REPLY, TLS, Answer, Connection, Target, Unexpected
from _messages import CAMPAIGN, TRANSACTIONAL, Kind, Mail, new_mail
from locust import User, task
from locust.exception import StopTest

# Always the same, as of an application that still has an old password: one guess, however often it is made.
NOBODY, OLD_PASSWORD = "nobody", "an-old-password"
TYPE, REFUSED = "SMTP", "refused"  # in locust's tables
BAD_CREDENTIALS, BAD_SENDER = "bad credentials → 535", "bad sender → 550"


class SmtpUser(User):
    """An application with one connection at a time.

    Each attempt to send counts once in locust's totals, as accepted, as refused where a refusal is right, or as a
    failure of the step where it ended. The other steps have lines of their own, which are in no total.
    """

    abstract = True
    kind: Kind
    burst = 1  # messages one right after the other

    def on_start(self) -> None:
        self.options = self.environment.parsed_options
        try:
            self.target = Target.named(self.host or "", self.options.ca_file)
        except ValueError as problem:
            raise StopTest(f"--host {problem}") from problem
        self.nobody = f"{NOBODY}@{self.options.recipient_domain}"
        self.connection: Connection | None = None
        self.messages_a_connection = self.chosen_messages_a_connection()
        self.slot_seconds = self.options.seconds_between_messages * self.burst
        self.slot_began, self.sent_in_slot = monotonic(), 0
        gevent.sleep(random.random() * self.slot_seconds)

    def on_stop(self) -> None:
        self.hang_up()

    def chosen_messages_a_connection(self) -> int:
        raise NotImplementedError

    def wait_time(self) -> float:
        """Seconds until the next message; none for a user who is late."""
        self.sent_in_slot += 1
        if self.sent_in_slot < self.burst:
            return 0.0
        self.slot_began, self.sent_in_slot = self.slot_began + self.slot_seconds, 0
        return max(0.0, self.slot_began + random.random() * self.slot_seconds - monotonic())

    @task
    def message(self) -> None:
        if random.random() < self.options.bad_credentials_share:
            self.attempt(self.log_in_with_old_password)
        if random.random() < self.options.bad_sender_share:
            self.attempt(self.send_as_nobody)
        self.attempt(self.send)

    # --- What a user does ----------------------------------------------------------------------------------------

    def attempt(self, what: Callable[[], None]) -> None:
        try:
            what()
        except Unexpected as problem:
            self.count(TYPE, problem.step, problem.milliseconds, str(problem))

    def send(self) -> None:
        mail = new_mail(self.kind, self.options.sender, self.options.recipient_domain)
        answer = self.submitted(mail)
        self.count(TYPE, REPLY, answer.milliseconds, answer.problem(250), mail)

    def send_as_nobody(self) -> None:
        answer = self.submitted(new_mail(self.kind, self.nobody, self.options.recipient_domain))
        self.count(REFUSED, BAD_SENDER, answer.milliseconds, answer.problem(550))

    def log_in_with_old_password(self) -> None:
        connection = self.opened()
        answer = connection.log_in(self.nobody, OLD_PASSWORD)
        self.count(REFUSED, BAD_CREDENTIALS, answer.milliseconds, answer.problem(535))
        connection.quit()

    # --- Connections ---------------------------------------------------------------------------------------------

    def submitted(self, mail: Mail) -> Answer:
        """The answer to a message. A connection that anything else goes wrong on is not used again."""
        connection = self.begun(mail)
        answer = connection.finish(mail)
        self.connection = connection
        if connection.messages >= self.messages_a_connection or answer.code == ENDED:
            self.hang_up()
        return answer

    def begun(self, mail: Mail) -> Connection:
        """A connection after MAIL: the one at hand if there still is one, else another."""
        connection, self.connection = self.connection, None
        if connection and connection.begins_again(mail.sender):
            return connection
        connection = self.logged_in()
        connection.need("MAIL", 250, connection.begin(mail.sender))
        return connection

    def logged_in(self) -> Connection:
        connection = self.opened()
        answer = connection.log_in(self.options.username, self.options.password)
        connection.need(AUTH, 235, answer)
        self.add_line(AUTH, answer.milliseconds)
        return connection

    def opened(self) -> Connection:
        connection = Connection(self.target)
        for step in (CONNECT, TLS):
            self.add_line(step, connection.steps[step])
        return connection

    def hang_up(self) -> None:
        connection, self.connection = self.connection, None
        if connection:
            connection.quit()

    # --- What locust counts --------------------------------------------------------------------------------------

    def count(self, kind: str, name: str, milliseconds: float, problem: str | None, mail: Mail | None = None) -> None:
        self.environment.events.request.fire(
            request_type=kind,
            name=name,
            response_time=milliseconds,
            response_length=len(mail.octets) if mail else 0,
            exception=problem,
            context={"recipients": mail.recipients} if mail else {},
        )

    def add_line(self, name: str, milliseconds: float) -> None:
        """A step of an attempt: in the tables, and in no total, which are of attempts."""
        self.environment.stats.get(name, TYPE).log(milliseconds, 0)


class Application(SmtpUser):
    """Sends what somebody waits for. Many applications connect for each message."""

    kind = TRANSACTIONAL
    weight = 7

    def chosen_messages_a_connection(self) -> int:
        return 1 if random.random() < self.options.reconnect_share else random.randint(20, 200)


class Campaign(SmtpUser):
    """Sends to a list, in bursts, on a connection that it keeps."""

    kind = CAMPAIGN
    weight = 3
    burst = 5

    def chosen_messages_a_connection(self) -> int:
        return 500
