"""The state of reading one message: what its control headers have decided so far, and how a row is applied to it."""

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
from smtpgw.message.words import encode, one_line

MAX_TAGS = 255  # the API's
# What one message may make us search, and write to the log.
MAX_PLACEHOLDERS = 10_000
MAX_SEARCHED_CHARACTERS = 256 * 1024 * 1024  # texts that are looked for, times what they are looked for in
MAX_TAG_TEXTS = 1000
MAX_METADATA_HEADERS = 1000
MAX_FINDINGS = 200
MAX_SHOWN_CHARACTERS = 100
MAX_LOGGED_PAIRS = 100
MAX_LOGGED_CHARACTERS = 1000


class HeaderError(SMTPError):
    """A control header asks for what Cakemail cannot do, and sending without it would be wrong."""

    def __init__(self, reply: Reply, finding: Finding) -> None:
        super().__init__(reply)
        self.finding = finding


@dataclass(slots=True)
class HeaderContext:
    """One message, its recipients and its account's maps; and what has been decided, where the first decision stands.

    Effects of rows call these methods. Each ends in exactly one finding, or in an exception.
    """

    message: Message
    recipients: frozenset[str]  # as `values.comparable`
    mapping: AccountMap
    now: float  # seconds since 1970
    control: Mapping[str, Sequence[str]]  # the control headers of the message: lower-case name → values as they came
    dialect: str = ""
    header: str = ""  # the row at hand, as people know it
    is_repeated: bool = False  # whether the row at hand was applied before
    siblings: Mapping[str, Any] = field(default_factory=dict)  # the JSON object whose key is at hand
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
        """The row at hand, for a log and a reply: clients may name headers and keys at any length."""
        return self.header[:MAX_SHOWN_CHARACTERS]

    # --- What an effect can say ---------------------------------------------------------------------------------------

    def record(self, verdict: Verdict, detail: str = "") -> None:
        if len(self.findings) == MAX_FINDINGS:
            verdict, detail = Verdict.STRIP_WARN, "and more, which are not told"
        if len(self.findings) <= MAX_FINDINGS:
            self.findings.append(Finding(self.dialect, self.shown, verdict, detail[:300]))

    def refuse(self, what: str) -> NoReturn:
        """Nothing is sent: `what` is not supported by Cakemail."""
        reply = UNSUPPORTED_HEADER.filled(header=self.shown, what=what[:200])
        raise HeaderError(reply, Finding(self.dialect, self.shown, Verdict.REFUSE, what[:300]))

    def refuse_value(self, why: str) -> NoReturn:
        """Nothing is sent: the value cannot be read."""
        reply = BAD_HEADER_VALUE.filled(header=self.shown, why=why[:200])
        raise HeaderError(reply, Finding(self.dialect, self.shown, Verdict.REFUSE, why[:300]))

    def decide(self, **fields: Any) -> None:
        """Fields of `Options`, or of its tracking. Whatever was decided before stands."""
        overruled = {self.decided_by[name] for name, value in fields.items() if self.decided.get(name, value) != value}
        for name, value in fields.items():
            if name not in self.decided:
                self.decided[name], self.decided_by[name] = value, self.header
        said = ", ".join(f"{name} {values.as_text(value)}" for name, value in fields.items())
        if overruled:
            self.record(Verdict.STRIP_WARN, f"{said}: {', '.join(sorted(overruled))} came first")
        else:
            self.record(Verdict.MAP, said)

    def add_tags(self, texts: Sequence[str]) -> None:
        """Never refuses a message: tags are made to fit, and what was changed or dropped is told."""
        said, dropped = [], []
        rest = texts[MAX_TAG_TEXTS - self.tag_texts :]
        if rest:
            dropped.append(f"{len(rest)} more dropped")
        for text in texts[: MAX_TAG_TEXTS - self.tag_texts]:
            self.tag_texts += 1
            tag = values.tag(text)
            if tag and (tag in self.tags or len(self.tags) < MAX_TAGS):
                self.tags[tag] = None
                said.append(tag if tag == text else f"{text} → {tag}")
            else:
                dropped.append(f"{text} dropped")
        verdict = Verdict.STRIP_WARN if dropped else Verdict.MAP if said else Verdict.STRIP
        self.record(verdict, "; ".join(dropped + said))

    def add_metadata(self, pairs: Mapping[str, Any]) -> None:
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
        """A check that needs all decisions; it speaks as the row at hand."""
        self.deferred.append((self.dialect, self.header, check))

    # --- What an effect can ask ---------------------------------------------------------------------------------------

    def has_text(self, text: str) -> bool:
        if text not in self.text_presence:
            self.searched_characters += sum(map(len, self.visible_texts()))
            if self.searched_characters > MAX_SEARCHED_CHARACTERS:
                self.refuse("looking for so many texts in a message of this size")
            self.text_presence[text] = any(text in part for part in self.visible_texts())
        return self.text_presence[text]

    def visible_texts(self) -> tuple[str, ...]:
        """What a recipient reads: subject, HTML, text."""
        return tuple(part for part in (self.message.subject, self.message.html, self.message.text) if part)

    def derive(self, pattern: re.Pattern[str], derive: Callable[[frozenset[str]], frozenset[str]]) -> frozenset[str]:
        """Return what `derive` makes of the matches of a pattern, computed once."""
        if derive not in self.searched:
            self.searched[derive] = derive(self.search(pattern))
        return self.searched[derive]

    def search(self, pattern: re.Pattern[str]) -> frozenset[str]:
        """What matches in subject, HTML and text. Looked for once, however often a header is repeated."""
        if pattern not in self.searched:
            found: set[str] = set()
            for match in (match for part in self.visible_texts() for match in pattern.finditer(part)):
                found.add(match[0])
                if len(found) > MAX_PLACEHOLDERS:
                    self.refuse(f"replacing more than {MAX_PLACEHOLDERS} placeholders in the message")
            self.searched[pattern] = frozenset(found)
        return self.searched[pattern]

    def has_header(self, name: str) -> bool:
        return name.lower() in self.control

    # --- The machinery ------------------------------------------------------------------------------------------------

    def begin_row(self, header: str) -> None:
        """Turn to another row, by the name that people know it by."""
        self.header = header
        self.is_repeated = header.lower() in self.seen
        self.seen.add(header.lower())

    def run_deferred(self) -> None:
        for dialect, header, check in self.deferred:
            self.dialect, self.header = dialect, header
            check()

    def build_options(self) -> Options:
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
    """Metadata cut to what a line of a log can bear."""
    pairs = list(metadata.items())[:MAX_LOGGED_PAIRS]
    return {key[:MAX_LOGGED_CHARACTERS]: value[:MAX_LOGGED_CHARACTERS] for key, value in pairs}


def make_metadata_headers(metadata: Mapping[str, str]) -> tuple[Header, ...]:
    pairs = islice(metadata.items(), MAX_METADATA_HEADERS)
    named = {f"X-Metadata-{tag}": value for key, value in pairs if (tag := values.tag(key))}
    return tuple(Header(name, encode(one_line(value))) for name, value in named.items() if value)
