"""One message of the corpus and what must become of it, as two files.

The .json has the `envelope`, and the `request` for its first recipient or the `refusal` that the client gets;
`inline_images` where the setting is not the default. Sender 1001 is the confirmed one, no list is set, and messages
that do not say what they are are transactional.
"""

import base64
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
SENDER_ID = "1001"
FROM = "zoe@example.com"
TO = "anna@example.com"


@dataclass(frozen=True)
class Case:
    """`name` is "area/name"."""

    name: str
    raw: bytes = field(repr=False)
    expected: dict[str, Any] = field(repr=False)

    def __str__(self) -> str:
        return self.name

    @property
    def eml(self) -> Path:
        return FOLDER / f"{self.name}.eml"

    @property
    def json(self) -> Path:
        return FOLDER / f"{self.name}.json"

    def expected_text(self) -> str:
        return json.dumps(self.expected, indent=2, ensure_ascii=False) + "\n"

    def write(self) -> None:
        self.eml.parent.mkdir(exist_ok=True)
        self.eml.write_bytes(self.raw)
        self.json.write_text(self.expected_text(), encoding="utf-8", newline="\n")


def stored() -> Iterator[Case]:
    """Every case on disk."""
    for path in sorted(FOLDER.glob("*/*.eml")):
        expected = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        yield Case(f"{path.parent.name}/{path.stem}", path.read_bytes(), expected)


def request(
    subject: str,
    text: str | None = None,
    html: str | None = None,
    *,
    sender_name: str = "",
    headers: Iterable[tuple[str, str]] = (),
    attachments: Iterable[tuple[str, str, bytes]] = (),
    type: str = "transactional",
    to: Iterable[str] = (TO,),
    reverse_path: str = FROM,
    **more: Any,
) -> dict[str, Any]:
    """What a message becomes: `attachments` are name, type and octets, `more` are further fields of the request."""
    content = {"subject": subject, "type": type, "encoding": "utf-8", "html": html, "text": text}
    recipients = list(to)
    wanted: dict[str, Any] = {
        "email": recipients[0],
        "sender": {"id": SENDER_ID, "name": sender_name} if sender_name else {"id": SENDER_ID},
        "content": {name: value for name, value in content.items() if value is not None},
        **more,
    }
    if found := [{"name": name, "value": value} for name, value in headers]:
        wanted["additional_headers"] = found
    if files := [
        {"filename": name, "type": type_, "content": base64.b64encode(octets).decode()}
        for name, type_, octets in attachments
    ]:
        wanted["attachment"] = files
    return {"envelope": {"from": reverse_path, "to": recipients}, "request": wanted}


def refusal(code: int, status: str, text: str) -> dict[str, Any]:
    return {
        "envelope": {"from": FROM, "to": [TO]},
        "refusal": {"code": code, "status": status, "text": text},
    }


def unreadable(why: str) -> dict[str, Any]:
    return refusal(554, "5.6.0", f"Message cannot be read: {why}; message not sent")


def not_carried(what: str) -> dict[str, Any]:
    return refusal(554, "5.6.1", f"{what} cannot be carried by Cakemail; message not sent")


def not_accepted(name: str) -> dict[str, Any]:
    accepted = "csv, doc, docx, ics, jpeg, pdf, png, xls, xlsx"
    return refusal(554, "5.6.1", f"Attachment {name}: type not accepted; Cakemail takes {accepted}; message not sent")


BAD_AUTHOR = refusal(550, "5.6.0", "From must name exactly one address; message not sent")
NO_BRACKETS = refusal(
    550,
    "5.6.0",
    "From has a name beside an address: put the address in angle brackets, as in Name <name@example.com>;"
    " message not sent",
)
