"""What a message costs stage by stage: our own modules in this process, which gevent has patched as it has a worker.

Each stage is timed by itself on messages that are ready for it. `API call` is `Cakemail.submit_email` against a
sandbox in another process: what this one spends on it.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from gevent.pool import Pool

from smtpgw.dialects import interpreter
from smtpgw.dialects.interpreter import Options
from smtpgw.message import parser
from smtpgw.message.parser import Message
from smtpgw.submission import ledger, translation
from smtpgw.submission.translation import EmailRequest
from tests.bench.figures import Samples
from tests.bench.messages import KINDS, Kind, tags
from tests.bench.unit import Unit
from tests.support.submitting import GOOD, SENDER, Submitting

TYPE = "transactional"
DEADLINE_SECONDS = 20.0
CALL_SECONDS = 20.0
CALLS_AT_A_TIME = 10
OCTETS = 4_000_000  # of messages that a stage has before it, or MOST of them
MAX = 200


@dataclass(frozen=True)
class Prepared:
    """A message before each of its stages."""

    raw: bytes
    recipients: list[str]
    mail: Message
    options: Options
    request: EmailRequest
    body: bytes  # for the first recipient


Messages = Sequence[Prepared]


class Stages:
    """The stages, with a gateway in this process before the sandbox at `url`."""

    def __init__(self, url: str) -> None:
        self.gateway = Submitting(url).gateway
        self.account = self.gateway.logins.login(GOOD)
        deadline = time.monotonic() + DEADLINE_SECONDS
        directories = self.gateway.directories
        self.mapping = self.gateway.mappings.account(self.account.id)
        self.sender_id = directories.sender(self.account, None, None, SENDER, deadline).id
        self.list_id = directories.default_list(self.account, None, deadline)
        self.token = self.gateway.logins.token(self.account, deadline)

    def close(self) -> None:
        self.gateway.close()

    def prepared(self, kind: Kind) -> Iterator[Prepared]:
        for tag in tags("stages", max(1, min(MAX, OCTETS // len(kind.template)))):
            raw, recipients = kind.raw(tag), kind.addresses(tag)
            mail = parser.parse(raw, "embed")
            options = interpreter.read(mail, recipients, self.mapping)
            request = self.translated(mail, options)
            yield Prepared(raw, recipients, mail, options, request, request.body_for(recipients[0]))

    def translated(self, mail: Message, options: Options) -> EmailRequest:
        return translation.translate(mail, options, self.sender_id, self.list_id, TYPE)

    # --- The work of a stage, for each of a few messages

    def parse(self, messages: Messages) -> None:
        for one in messages:
            parser.parse(one.raw, "embed")

    def dialects(self, messages: Messages) -> None:
        for one in messages:
            interpreter.read(one.mail, one.recipients, self.mapping)

    def translation(self, messages: Messages) -> None:
        for one in messages:
            self.translated(one.mail, one.options)

    def identity(self, messages: Messages) -> None:
        for one in messages:
            ledger.message_key((self.account.id, None), one.mail.message_id, one.raw, one.request.template)

    def encoding(self, messages: Messages) -> None:
        for one in messages:
            for recipient in one.recipients:
                one.request.body_for(recipient)

    def calls(self, messages: Messages) -> None:
        submit = self.gateway.delivery.api.submit_email
        Pool(CALLS_AT_A_TIME).map(lambda one: submit(self.token, one.body, None, CALL_SECONDS), messages)


ROWS: Sequence[tuple[str, Callable[[Stages, Messages], None], Sequence[str]]] = (
    ("parse", Stages.parse, ("4 KB", "SendGrid", "inline image", "1 MB PDF")),
    ("dialects", Stages.dialects, ("4 KB", "SendGrid")),
    ("translation", Stages.translation, ("4 KB", "inline image", "1 MB PDF")),
    ("identity", Stages.identity, ("4 KB", "1 MB PDF")),
    ("encoding", Stages.encoding, ("4 KB", "ten recipients", "1 MB PDF")),
    ("API call", Stages.calls, ("4 KB", "1 MB PDF")),
)


def measure(stages: Stages, unit: Unit, samples: Samples, least_seconds: float) -> Iterator[None]:
    """Take a sample of each stage, which takes so much CPU time at least; a step for each."""
    for name, stage, kinds in ROWS:
        for kind in kinds:
            messages = list(stages.prepared(KINDS[kind]))
            before = unit.sample()
            took = spent(partial(stage, stages, messages), least_seconds)
            samples.add(f"{name}: {kind}", took / len(messages), (before + unit.sample()) / 2)
            yield


def spent(work: Callable[[], None], least_seconds: float) -> float:
    """CPU milliseconds for some work, done again until it took that long."""
    done, began = 0, time.process_time()
    while not done or time.process_time() - began < least_seconds:
        work()
        done += 1
    return (time.process_time() - began) * 1000 / done
