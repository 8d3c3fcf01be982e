"""The faults that a test asks for: which calls they hit, in which order, and how often they have.

The first rule that matches a call and is due hits it. `every` and `times` count matching calls; `rate` draws from a
generator that begins with `seed`: the same calls in the same order meet the same faults.
"""

import random
from dataclasses import dataclass
from typing import Annotated, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

Kind = Literal[
    "status",  # an answer of this status, not accepted
    "html",  # an HTML page, as a proxy in front of the API would answer; not accepted
    "latency",  # nothing wrong but the time it takes
    "reset_before",  # the connection is reset, nothing accepted
    "reset_after",  # accepted, then the connection is reset without an answer
    "slow_headers",  # accepted, then a wait before the answer
    "slow_body",  # accepted, then the answer's body octet by octet
    "truncated",  # accepted, then the connection ends inside the answer's body
    "no_answer",  # accepted, then nothing until the client leaves
    "rejected",  # 201 with this status: not accepted
    "error",
    "no_id",  # accepted, and answered 201 without an id
    "challenge_200",  # POST /token answers a challenge with 200
]
ENDPOINTS = (
    "POST /token",
    "GET /accounts/self",
    "GET /brands/default/senders",
    "GET /lists",
    "POST /v2/emails",
    "GET /v2/emails/{email_id}",
    "GET /v2/emails/{email_id}/render",
)
ONLY_ENDPOINT: dict[str, str] = {
    **dict.fromkeys(("rejected", "error", "no_id"), "POST /v2/emails"),
    "challenge_200": "POST /token",
}
NOT_ACCEPTED = frozenset({"status", "html", "reset_before", "challenge_200"})
MAY_CHOOSE = frozenset({"status", "html", "slow_headers", "slow_body", "truncated", "no_answer"})
# How long the slow kinds wait when they are not told: longer than any client does; slow_body, an octet.
USUAL_LATENCY_MS = {"slow_headers": 60_000, "slow_body": 500}


@dataclass(frozen=True, slots=True)
class Call:
    """A call of the API, as far as rules look at it."""

    endpoint: str
    email: str = ""  # the recipient; at POST /token the user name
    senders: tuple[str, ...] = ()  # the sender's id and address


class Rule(BaseModel):
    """One fault. Without `endpoint`, `email` and `sender` it matches every call of the API."""

    model_config = ConfigDict(extra="forbid")

    kind: Kind | None = None  # "status" where a status is given, "latency" where only latency_ms is
    endpoint: str | None = None  # "POST /v2/emails", or "/v2/emails"
    email: str | None = None
    sender: str | None = None
    every: Annotated[int | None, Field(ge=1)] = None  # each nth matching call; each one by default
    rate: Annotated[float | None, Field(ge=0, le=1)] = None
    seed: int = 0
    times: Annotated[int | None, Field(ge=1)] = None  # then no more
    status: Annotated[int | None, Field(ge=200, le=599)] = None
    body: object = None  # of the answer: text as it is, anything else as JSON
    retry_after: int | str | None = None
    latency_ms: Annotated[int | None, Field(ge=0)] = None
    accepts: bool | None = None

    @model_validator(mode="after")
    def makes_sense(self) -> Self:
        if self.kind is None and self.status is None and self.latency_ms is None:
            raise ValueError("a fault needs a kind, a status or latency_ms")
        if self.kind == "status" and self.status is None:
            raise ValueError("kind status needs a status")
        if self.every is not None and self.rate is not None:
            raise ValueError("every and rate exclude each other")
        if self.endpoint is not None and not any(self.endpoint in (e, e.partition(" ")[2]) for e in ENDPOINTS):
            raise ValueError(f"no such endpoint; there are {', '.join(ENDPOINTS)}")
        only = ONLY_ENDPOINT.get(self.what)
        if only and self.endpoint not in (None, only, only.partition(" ")[2]):
            raise ValueError(f"kind {self.what} is for {only}")
        if self.accepts is not None and self.what not in MAY_CHOOSE:
            raise ValueError(f"kind {self.what} has no choice of accepts")
        return self

    @property
    def what(self) -> Kind:
        return self.kind or ("status" if self.status is not None else "latency")

    @property
    def lets_through(self) -> bool:
        """Whether the call is processed; for an email, accepted."""
        return self.what not in NOT_ACCEPTED if self.accepts is None else self.accepts

    @property
    def wait_seconds(self) -> float:
        return (USUAL_LATENCY_MS.get(self.what, 0) if self.latency_ms is None else self.latency_ms) / 1000

    def matches(self, call: Call) -> bool:
        endpoint = self.endpoint or ONLY_ENDPOINT.get(self.what)
        return (
            (endpoint is None or endpoint in (call.endpoint, call.endpoint.partition(" ")[2]))
            and (self.email is None or self.email.casefold() == call.email.casefold())
            and (self.sender is None or self.sender.casefold() in (s.casefold() for s in call.senders))
        )


class Fault:
    """A rule at work: how many calls matched it, and how many it hit."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.matched = self.hits = 0
        self._chance = random.Random(rule.seed)  # noqa: S311 - tests want the same faults each time

    def due(self, call: Call) -> bool:
        rule = self.rule
        if not rule.matches(call) or (rule.times is not None and self.hits >= rule.times):
            return False
        self.matched += 1
        hit = self.matched % (rule.every or 1) == 0 if rule.rate is None else self._chance.random() < rule.rate
        self.hits += hit
        return hit

    def described(self) -> dict[str, object]:
        given = self.rule.model_dump(exclude_none=True, exclude={"kind"})
        return {"kind": self.rule.what, **given, "matched": self.matched, "hits": self.hits}


class Faults:
    def __init__(self) -> None:
        self._faults: list[Fault] = []

    def __bool__(self) -> bool:
        return bool(self._faults)

    def add(self, rule: Rule) -> Fault:
        fault = Fault(rule)
        self._faults.append(fault)
        return fault

    def hit(self, call: Call) -> Rule | None:
        """The rule that this call shall meet."""
        return next((fault.rule for fault in self._faults if fault.due(call)), None)

    def clear(self) -> None:
        self._faults.clear()

    def described(self) -> list[dict[str, object]]:
        return [fault.described() for fault in self._faults]


KINDS: tuple[Kind, ...] = get_args(Kind)
