"""One control header in a message, and what must become of it: the cases of the tests of dialects."""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from smtpgw.config.provider_map import AccountMap
from smtpgw.dialects.interpreter import HeaderError, Options, Verdict, read
from smtpgw.message.parser import Header, Message, parse

NOW = 1_790_000_000.0  # 2026-09-21 14:13:20 UTC
RECIPIENT = "reader@example.com"
NO_MAPS = AccountMap()


def mail(headers: Sequence[tuple[str, str]], text: str = "Hello", subject: str = "Hi", html: str = "") -> Message:
    """A message as a client sends it, with these header fields besides the usual ones."""
    fields = "".join(f"{name}: {value}\r\n" for name, value in headers)
    kind, body = ("html", html) if html else ("plain", text)
    raw = (
        f"From: Shop <shop@example.com>\r\nTo: {RECIPIENT}\r\nSubject: {subject}\r\n{fields}"
        f"MIME-Version: 1.0\r\nContent-Type: text/{kind}; charset=utf-8\r\n\r\n{body}\r\n"
    )
    return parse(raw.encode(), "embed")


def options(
    *headers: tuple[str, str], recipients: Sequence[str] = (RECIPIENT,), maps: AccountMap = NO_MAPS, **body: str
) -> Options:
    return read(mail(headers, **body), recipients, maps, NOW)


def written(*headers: tuple[str, str]) -> Message:
    """A message as the parser would give it, with values that no client could put into one."""
    fields = tuple(Header(name, value) for name, value in headers)
    return Message(fields, None, "s %x%", "t {{x}}", "<p>", (), "", ())


def outcome(
    message: Message, recipients: Sequence[str] = (RECIPIENT,), maps: AccountMap = NO_MAPS
) -> Options | HeaderError:
    """What `read` returns or refuses; any other exception is the test's failure."""
    try:
        return read(message, recipients, maps, NOW)
    except HeaderError as refusal:
        return refusal


def changed(found: Options) -> dict[str, Any]:
    """The fields that say something, but for those that each test looks at by itself."""
    fields = {f.name: getattr(found, f.name) for f in dataclasses.fields(found)}
    return {name: value for name, value in fields.items() if value and name not in ("consumed", "findings")}


@dataclass(frozen=True, kw_only=True)
class Case:
    """A header `name`, or the key of a JSON one as `X-SMTPAPI filters.footer.settings`, with a value."""

    name: str
    value: Any
    verdict: Verdict
    becomes: dict[str, Any] = field(default_factory=dict)  # the fields of Options that say something
    reply: str = ""  # for REFUSE: how the reply begins
    recipients: tuple[str, ...] = (RECIPIENT,)
    maps: AccountMap = NO_MAPS
    body: dict[str, str] = field(default_factory=dict)
    row: str = ""  # where it is not `name`

    def __str__(self) -> str:
        value = self.value if isinstance(self.value, str) else json.dumps(self.value)
        extra = "".join(f"-{part}" for part in (*self.body.values(), "mapped" if self.maps != NO_MAPS else "") if part)
        return f"{self.name}-{value}{extra}-{self.verdict.value}"

    @property
    def header(self) -> tuple[str, str]:
        name, _, path = self.name.partition(" ")
        if not path:
            return name, self.value
        value = self.value
        for key in reversed(path.split(".")):
            value = {key: value}
        return name, json.dumps(value, ensure_ascii=False)

    def check(self, dialect: str) -> None:
        if self.verdict is Verdict.REFUSE:
            self.check_refusal(dialect)
            return
        found = options(self.header, recipients=self.recipients, maps=self.maps, **self.body)
        assert changed(found) == self.becomes
        assert found.consumed == {self.header[0].lower()}
        assert [(f.dialect, f.header, f.verdict) for f in found.findings] == [(dialect, self.name, self.verdict)]

    def check_refusal(self, dialect: str) -> None:
        with pytest.raises(HeaderError) as refusal:
            options(self.header, recipients=self.recipients, maps=self.maps, **self.body)
        reply = refusal.value.reply
        said = f"{reply.code} {reply.status} {reply.text}"
        assert said.startswith(self.reply or f"550 5.3.3 {self.name}: ")
        assert said.endswith("; message not sent")
        finding = refusal.value.finding
        assert (finding.dialect, finding.header, finding.verdict) == (dialect, self.name, Verdict.REFUSE)


def mapped(name: str, value: Any, becomes: dict[str, Any], **more: Any) -> Case:
    return Case(name=name, value=value, verdict=Verdict.MAP, becomes=becomes, **more)


def stripped(name: str, value: Any, becomes: dict[str, Any] | None = None, **more: Any) -> Case:
    return Case(name=name, value=value, verdict=Verdict.STRIP, becomes=becomes or {}, **more)


def lost(name: str, value: Any, becomes: dict[str, Any] | None = None, **more: Any) -> Case:
    return Case(name=name, value=value, verdict=Verdict.STRIP_WARN, becomes=becomes or {}, **more)


def refused(name: str, value: Any, reply: str = "", **more: Any) -> Case:
    return Case(name=name, value=value, verdict=Verdict.REFUSE, reply=reply, **more)


def discarded(name: str, value: Any, **more: Any) -> Case:
    return Case(name=name, value=value, verdict=Verdict.DISCARD, becomes={"discard": name}, **more)


def tracking(**fields: bool) -> dict[str, Any]:
    return {"tracking": fields}
