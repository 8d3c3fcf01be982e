"""The body of the API's request: which field comes from where."""

import json
from typing import Any

import pytest

from smtpgw.core.replies import SMTPError
from smtpgw.dialects.interpreter import Options
from smtpgw.message.parser import Attachment, Header, Mailbox, Message
from smtpgw.submission.translation import translate

TO = "anna@example.com"


def message(**fields: Any) -> Message:
    defaults: dict[str, Any] = {
        "headers": (),
        "author": None,
        "subject": "Test",
        "text": "Hello",
        "html": None,
        "attachments": (),
        "message_id": "",
        "notes": (),
    }
    return Message(**defaults | fields)


def body(mail: Message | None = None, options: Options | None = None, **arguments: Any) -> dict[str, Any]:
    settings: dict[str, Any] = {"sender_id": "7", "list_id": None, "default_type": "transactional"}
    request = translate(mail or message(), options or Options(), **settings | arguments)
    return json.loads(request.body_for(TO))


def test_least_request() -> None:
    assert body() == {
        "email": TO,
        "sender": {"id": "7"},
        "content": {"subject": "Test", "type": "transactional", "encoding": "utf-8", "text": "Hello"},
    }


def test_fullest_request() -> None:
    mail = message(
        headers=(Header("X-A", "b"), Header("X-Control", "c")),
        author=Mailbox("Zoë", "zoe@example.com"),
        html="<p>",
        attachments=(Attachment("a.pdf", "pdf", "QQ=="),),
    )
    options = Options(
        type="marketing",
        template_id=5,
        tags=("one", "two"),
        tracking={"opens": False, "clicks_html": True},
        extra_headers=(Header("X-Metadata-id", "17"),),
        consumed=frozenset({"x-control"}),
    )
    assert body(mail, options, list_id=3) == {
        "email": TO,
        "sender": {"id": "7", "name": "Zoë"},
        "content": {
            "subject": "Test",
            "type": "marketing",
            "encoding": "utf-8",
            "html": "<p>",
            "text": "Hello",
            "template": {"id": 5},
        },
        "list_id": 3,
        "tags": ["one", "two"],
        "tracking": {"opens": False, "clicks_html": True},
        "additional_headers": [{"name": "X-A", "value": "b"}, {"name": "X-Metadata-id", "value": "17"}],
        "attachment": [{"filename": "a.pdf", "type": "pdf", "content": "QQ=="}],
    }


def test_requests_differ_in_the_recipient_alone() -> None:
    request = translate(message(text='"email":"nobody@example.com"'), Options(), "7", None, "transactional")
    first, second = (json.loads(request.body_for(to)) for to in ('"a\\b"@example.com', "ü@example.com"))
    assert first.pop("email") == '"a\\b"@example.com'
    assert second.pop("email") == "ü@example.com"
    assert first == second


def test_sub_account_is_no_part_of_the_body() -> None:
    request = translate(message(), Options(account_id=9), "7", None, "transactional")
    assert request.account_id == 9
    assert json.loads(request.body_for(TO)) == body()


@pytest.mark.parametrize(
    ("default", "headers", "said", "type_"),
    [
        ("transactional", (), None, "transactional"),
        ("marketing", (), None, "marketing"),
        ("transactional", (Header("List-ID", "<a.example.com>"),), None, "transactional"),
        ("transactional", (Header("precedence", "BULK"),), None, "transactional"),
        ("transactional", (Header("list-unsubscribe", "<https://example.com>"),), None, "marketing"),
        ("transactional", (Header("List-Unsubscribe", "<https://example.com>"),), "transactional", "transactional"),
        ("marketing", (), "transactional", "transactional"),
        ("transactional", (), "marketing", "marketing"),
    ],
)
def test_type(default: str, headers: tuple[Header, ...], said: str | None, type_: str) -> None:
    assert body(message(headers=headers), Options(type=said), default_type=default)["content"]["type"] == type_


UNSUBSCRIBE = Header("List-Unsubscribe", "<https://example.com>")


@pytest.mark.parametrize(
    ("counted", "headers", "header"),
    [
        (("list-unsubscribe",), [UNSUBSCRIBE], "List-Unsubscribe"),
        (("list-unsubscribe",), [Header("List-Unsubscribe", "")], ""),
        (("list-unsubscribe",), [UNSUBSCRIBE, Header("Auto-Submitted", "auto-replied; owner=x")], ""),
        (("list-unsubscribe",), [UNSUBSCRIBE, Header("auto-submitted", "No (a person wrote it)")], "List-Unsubscribe"),
        ((), [UNSUBSCRIBE], ""),
        (("list-id", "precedence"), [UNSUBSCRIBE], ""),
        (("list-id", "precedence"), [Header("Precedence", "first-class"), Header("List-ID", "<a.b>")], "List-ID"),
        (("list-id", "precedence"), [Header("Precedence", "List")], "Precedence"),
        (("x-campaign",), [Header("X-Campaign", "spring")], "X-Campaign"),
    ],
)
def test_which_header_makes_a_message_marketing(counted: tuple[str, ...], headers: list[Header], header: str) -> None:
    mail = message(headers=tuple(headers))
    request = translate(mail, Options(), "7", None, "transactional", counted)
    assert request.marketing_header == header
    assert request.notes == ((f"marketing, because of {header}",) if header else ())
    assert json.loads(request.body_for(TO))["content"]["type"] == ("marketing" if header else "transactional")


def test_a_header_that_changes_nothing_is_not_told() -> None:
    mail = message(headers=(UNSUBSCRIBE,))
    assert translate(mail, Options(type="marketing"), "7", None, "transactional").marketing_header == ""


@pytest.mark.parametrize(
    ("text", "html", "template", "said"),
    [
        (None, None, None, {"text": " "}),
        ("", "", None, {"text": " "}),
        ("", "<p>", None, {"html": "<p>"}),
        ("a", "", None, {"text": "a"}),
        (None, None, 5, {"template": {"id": 5}}),
    ],
)
def test_empty_bodies(text: str | None, html: str | None, template: int | None, said: dict[str, Any]) -> None:
    content = body(message(text=text, html=html), Options(template_id=template))["content"]
    assert {name: content[name] for name in ("text", "html", "template") if name in content} == said


def test_headers_that_are_left_out_are_told_by_name_unless_everybody_expects_it() -> None:
    names = ("From", "To", "Subject", "Date", "Content-Type", "Cc", "Received", "X-Spam-Score", "X-Kept", "Unheard-Of")
    headers = tuple(Header(name, "secret") for name in names)
    request = translate(message(headers=headers), Options(), "7", None, "transactional")
    assert request.notes == (
        "Cc not delivered",
        "Received not delivered",
        "X-Spam-Score not delivered",
        "Unheard-Of not delivered",
    )


def test_header_of_a_dialect_is_neither_delivered_nor_told() -> None:
    options = Options(consumed=frozenset({"x-mc-tags"}))
    request = translate(message(headers=(Header("X-MC-Tags", "a"),)), options, "7", None, "transactional")
    assert request.notes == ()
    assert "additional_headers" not in json.loads(request.body_for(TO))


@pytest.mark.parametrize(
    ("value", "reply"),
    [
        ("ü@example.com", "550 5.3.3 Reply-To: the mailbox name of u@example.com"),
        ("a@ä..example.com", "550 5.6.0 Reply-To: a..example.com is no domain"),
    ],
)
def test_address_that_cannot_be_written_in_ascii_is_refused(value: str, reply: str) -> None:
    with pytest.raises(SMTPError) as refused:
        body(message(headers=(Header("Reply-To", value),)))
    assert str(refused.value).startswith(reply)


def test_every_delivered_header_is_ascii_on_one_line() -> None:
    values = ("ä", "ä" * 300, "a ä b", "<ä>", '"ä, b" <c@example.com>', "=?utf-8?q?=C3=A4?= ä", "ä@", ", ä")
    names = ("Reply-To", "List-Help", "List-Id", "X-A", "References")
    headers = tuple(Header(name, value) for name in names for value in values)
    for header in headers:
        try:
            [delivered] = body(message(headers=(header,)))["additional_headers"]
        except SMTPError:
            continue
        assert delivered["value"].isascii()
        assert delivered["value"].isprintable()
