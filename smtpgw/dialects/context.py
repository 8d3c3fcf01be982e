"""State of the interpretation of one message: the decisions that its control headers have made so far."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NoReturn

from smtpgw.config.provider_map import TRACKED, AccountMap
from smtpgw.core.replies import BAD_HEADER_VALUE, UNSUPPORTED_HEADER, Reply, SMTPError
from smtpgw.dialects import values
from smtpgw.dialects.options import Finding, Options, Verdict
from smtpgw.message.parser import Header, Message
from smtpgw.message.words import encode, replace_controls

# The limit of the API.
MAX_TAGS = 255
# Limits on the search in one message and on its log line. A search costs the characters of the message for each text.
MAX_PLACEHOLDERS = 10_000
MAX_SEARCHED_CHARACTERS = 256 * 1024 * 1024
MAX_TAG_TEXTS = 1000
MAX_METADATA_HEADERS = 1000
MAX_FINDINGS = 200
MAX_SHOWN_CHARACTERS = 100
MAX_LOGGED_PAIRS = 100
MAX_LOGGED_CHARACTERS = 1000


class HeaderError(SMTPError):
    """A control header requires a feature that Cakemail does not have, and that changes what the recipient sees."""

    def __init__(self, reply: Reply, finding: Finding) -> None:
        super().__init__(reply)
        self.finding = finding


@dataclass(slots=True)
class HeaderContext:
    """A message, its recipients, the maps of its account, and the decisions so far. The first decision on a field wins.

    The effect of a row calls these methods. It ends in exactly one finding or in an exception.
    """

    message: Message
    # Recipients in the form of `values.comparable`.
    recipients: frozenset[str]
    mapping: AccountMap
    # Seconds since 1970.
    now: float
    # The control headers of the message: lower-case name → values as received.
    control: Mapping[str, Sequence[str]]
    dialect: str = ""
    # The name of the current row, for people.
    header: str = ""
    # Whether the current row was applied before.
    is_repeated: bool = False
    # The JSON object that contains the current key.
    siblings: Mapping[str, Any] = field(default_factory=dict)
    decided: dict[str, Any] = field(default_factory=dict)
    decided_by: dict[str, str] = field(default_factory=dict)
    tags: dict[str, None] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)
    discard: str = ""
    findings: list[Finding] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    searched: dict[object, frozenset[str]] = field(default_factory=dict)
    text_presence: dict[str, bool] = field(default_factory=dict)
    searched_characters: int = 0
    tag_texts: int = 0
    deferred: list[tuple[str, str, Callable[[], None]]] = field(default_factory=list)

    @property
    def shown(self) -> str:
        """The name of the current row for logs and replies, cut, because clients choose the length of names."""
        return self.header[:MAX_SHOWN_CHARACTERS]

    # --- Results of an effect -----------------------------------------------------------------------------------------

    def record(self, verdict: Verdict, detail: str = "") -> None:
        """Add a finding about the current row, up to MAX_FINDINGS."""
        if len(self.findings) == MAX_FINDINGS:
            verdict, detail = Verdict.STRIP_WARN, "and more, which are not told"
        if len(self.findings) <= MAX_FINDINGS:
            self.findings.append(Finding(self.dialect, self.shown, verdict, detail[:300]))

    def refuse(self, what: str) -> NoReturn:
        """Reject the message, because Cakemail does not support `what`. Raises HeaderError."""
        reply = UNSUPPORTED_HEADER.filled(header=self.shown, what=what[:200])
        raise HeaderError(reply, Finding(self.dialect, self.shown, Verdict.REFUSE, what[:300]))

    def refuse_value(self, why: str) -> NoReturn:
        """Reject the message, because the value of the header is invalid. Raises HeaderError."""
        reply = BAD_HEADER_VALUE.filled(header=self.shown, why=why[:200])
        raise HeaderError(reply, Finding(self.dialect, self.shown, Verdict.REFUSE, why[:300]))

    def decide(self, **fields: Any) -> None:
        """Decide fields of `Options` or of its tracking. Earlier decisions are kept."""
        overruled = {self.decided_by[name] for name, value in fields.items() if self.decided.get(name, value) != value}
        for name, value in fields.items():
            if name not in self.decided:
                self.decided[name], self.decided_by[name] = value, self.header
        detail = ", ".join(f"{name} {values.as_text(value)}" for name, value in fields.items())
        if overruled:
            self.record(Verdict.STRIP_WARN, f"{detail}: {', '.join(sorted(overruled))} came first")
        else:
            self.record(Verdict.MAP, detail)

    def add_tags(self, texts: Sequence[str]) -> None:
        """Add tags, adapted to the API. The finding lists changed and dropped tags; the message is never rejected."""
        added, dropped = [], []
        rest = texts[MAX_TAG_TEXTS - self.tag_texts :]
        if rest:
            dropped.append(f"{len(rest)} more dropped")
        for text in texts[: MAX_TAG_TEXTS - self.tag_texts]:
            self.tag_texts += 1
            tag = values.tag(text)
            if tag and (tag in self.tags or len(self.tags) < MAX_TAGS):
                self.tags[tag] = None
                added.append(tag if tag == text else f"{text} → {tag}")
            else:
                dropped.append(f"{text} dropped")
        verdict = Verdict.STRIP_WARN if dropped else Verdict.MAP if added else Verdict.STRIP
        self.record(verdict, "; ".join(dropped + added))

    def add_metadata(self, pairs: Mapping[str, Any]) -> None:
        """Add metadata. An earlier value of a key is kept."""
        for key, value in pairs.items():
            self.metadata.setdefault(str(key), values.as_text(value))
        if not pairs:
            self.record(Verdict.STRIP)
        elif self.mapping.metadata_as_headers:
            is_too_much = len(self.metadata) > MAX_METADATA_HEADERS
            more = f", the first {MAX_METADATA_HEADERS} of them" if is_too_much else ""
            self.record(Verdict.STRIP_WARN if is_too_much else Verdict.MAP, f"as X-Metadata- headers{more}")
        else:
            self.record(Verdict.STRIP_WARN, "metadata is only in the gateway's log")

    def defer(self, check: Callable[[], None]) -> None:
        """Run a check for the current row once all rows are applied."""
        self.deferred.append((self.dialect, self.header, check))

    # --- Queries of an effect -----------------------------------------------------------------------------------------

    def has_text(self, text: str) -> bool:
        """Return whether subject, HTML or text contain a text. Raises HeaderError if the message searches too much."""
        if text not in self.text_presence:
            self.searched_characters += sum(map(len, self.visible_texts()))
            if self.searched_characters > MAX_SEARCHED_CHARACTERS:
                self.refuse("looking for so many texts in a message of this size")
            self.text_presence[text] = any(text in part for part in self.visible_texts())
        return self.text_presence[text]

    def visible_texts(self) -> tuple[str, ...]:
        """Return the texts that a recipient reads: subject, HTML, text."""
        return tuple(part for part in (self.message.subject, self.message.html, self.message.text) if part)

    def derive(self, pattern: re.Pattern[str], derive: Callable[[frozenset[str]], frozenset[str]]) -> frozenset[str]:
        """Return the result of `derive` for the matches of a pattern. It is computed once."""
        if derive not in self.searched:
            self.searched[derive] = derive(self.search(pattern))
        return self.searched[derive]

    def search(self, pattern: re.Pattern[str]) -> frozenset[str]:
        """Return the matches of a pattern in subject, HTML and text. Each pattern is searched once.

        Raises:
            HeaderError: There are too many matches.
        """
        if pattern not in self.searched:
            found: set[str] = set()
            for match in (match for part in self.visible_texts() for match in pattern.finditer(part)):
                found.add(match[0])
                if len(found) > MAX_PLACEHOLDERS:
                    self.refuse(f"replacing more than {MAX_PLACEHOLDERS} placeholders in the message")
            self.searched[pattern] = frozenset(found)
        return self.searched[pattern]

    def has_header(self, name: str) -> bool:
        """Return whether the message has a control header."""
        return name.lower() in self.control

    # --- Calls by the interpreter -------------------------------------------------------------------------------------

    def begin_row(self, header: str) -> None:
        """Make a row the current one. `header` is its name for people."""
        self.header = header
        self.is_repeated = header.lower() in self.seen
        self.seen.add(header.lower())

    def run_deferred(self) -> None:
        """Run the deferred checks, each for its own row."""
        for dialect, header, check in self.deferred:
            self.dialect, self.header = dialect, header
            check()

    def build_options(self) -> Options:
        """Return the options of the submission."""
        tracking = {name: self.decided.pop(name) for name in TRACKED if name in self.decided}
        return Options(
            **self.decided,
            tags=tuple(self.tags),
            tracking={**self.mapping.tracking, **tracking},
            extra_headers=make_metadata_headers(self.metadata) if self.mapping.metadata_as_headers else (),
            metadata=shorten_for_log(self.metadata),
            consumed=frozenset(self.control),
            discard=self.discard,
            findings=tuple(self.findings),
        )


def shorten_for_log(metadata: Mapping[str, str]) -> dict[str, str]:
    """Return metadata cut to the length that a log line may have."""
    pairs = list(metadata.items())[:MAX_LOGGED_PAIRS]
    return {key[:MAX_LOGGED_CHARACTERS]: value[:MAX_LOGGED_CHARACTERS] for key, value in pairs}


def make_metadata_headers(metadata: Mapping[str, str]) -> tuple[Header, ...]:
    """Return the X-Metadata- headers for metadata. Keys and values without a usable character are left out."""
    pairs = islice(metadata.items(), MAX_METADATA_HEADERS)
    named = {f"X-Metadata-{tag}": value for key, value in pairs if (tag := values.tag(key))}
    return tuple(Header(name, encode(replace_controls(value))) for name, value in named.items() if value)
