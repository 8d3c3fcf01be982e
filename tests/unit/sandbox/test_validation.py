"""POST /v2/emails refuses what the API's schema refuses, and what the account cannot do; nothing refused is kept."""

import pytest

from smtpgw.sandbox.accounts import ACTIVE_LIST, ARCHIVED_LIST, OTHER, OTHER_SENDER, SENDER, UNCONFIRMED_SENDER
from tests.support.sandbox_client import Caller, an_email, bearer

CONTENT = {"subject": "Hello", "type": "transactional", "text": "Hi"}
FILE = {"filename": "a.pdf", "type": "pdf", "content": "YQ=="}
LONG_TAG = "t" * 255


@pytest.fixture
def api() -> Caller:
    return Caller()


def content(**changes):
    return {"content": {**CONTENT, **changes}}


def file(**changes):
    return {"attachment": {**FILE, **changes}}


@pytest.mark.parametrize(
    "changes",
    [
        {"email": "o'brien+tag@mail.customer.example"},
        {"email": "user@xn--bcher-kva.example"},
        {"sender": {"id": SENDER.id, "name": "Bücher & Söhne"}},
        content(type="marketing", html="<p>", encoding="windows-1252"),
        {"content": {"subject": "s", "type": "marketing", "template": {"id": 7}}},
        content(custom_attributes=[{"name": "first", "value": ""}], markup={"@type": "Order", "n": 10**30}),
        {"tags": []},
        {"tags": [LONG_TAG] * 255},
        {"tags": ["a-Z_09"]},
        {"tracking": {}},
        {"tracking": {"opens": False, "clicks_html": False, "clicks_text": False}},
        {"additional_headers": [{"name": "X-A", "value": ""}]},
        {"contact_id": 1},
        file(filename="A-b_9.xlsx", type="xlsx"),
        {"attachment": []},
        {"attachment": [FILE, FILE]},
    ],
)
def test_taken(api, changes):
    answer = api.submit(an_email(**changes))
    assert answer.status_code == 201, answer.text


@pytest.mark.parametrize(
    ("changes", "loc"),
    [
        ({"email": ""}, ["email"]),
        ({"email": "user"}, ["email"]),
        ({"email": "user@localhost"}, ["email"]),
        ({"email": "User <user@customer.example>"}, ["email"]),
        ({"email": "üser@customer.example"}, ["email"]),
        ({"email": "user@bücher.example"}, ["email"]),
        ({"email": "a@b.example, c@d.example"}, ["email"]),
        ({"email": ["user@customer.example"]}, ["email"]),
        ({"sender": None}, ["sender"]),
        ({"sender": SENDER.id}, ["sender"]),
        ({"sender": {}}, ["sender", "id"]),
        ({"sender": {"id": ""}}, ["sender", "id"]),
        ({"sender": {"id": 1}}, ["sender", "id"]),
        ({"sender": {"id": SENDER.id, "name": ""}}, ["sender", "name"]),
        ({"content": None}, ["content"]),
        ({"content": {"type": "marketing", "text": "t"}}, ["content", "subject"]),
        ({"content": {"subject": "s", "text": "t"}}, ["content", "type"]),
        (content(subject=""), ["content", "subject"]),
        (content(subject=1), ["content", "subject"]),
        (content(type="Transactional"), ["content", "type"]),
        (content(html=""), ["content", "html"]),
        (content(html=None), ["content", "html"]),
        (content(text=""), ["content", "text"]),
        (content(template={"id": "7"}), ["content", "template", "id"]),
        (content(template={}), ["content", "template", "id"]),
        (content(encoding="UTF-8"), ["content", "encoding"]),
        (content(custom_attributes=[{"name": "", "value": ""}]), ["content", "custom_attributes", 0, "name"]),
        (content(custom_attributes=[{"name": "a"}]), ["content", "custom_attributes", 0, "value"]),
        (content(markup=[]), ["content", "markup"]),
        ({"list_id": 0}, ["list_id"]),
        ({"list_id": str(ACTIVE_LIST.id)}, ["list_id"]),
        ({"contact_id": 0}, ["contact_id"]),
        ({"tags": "one"}, ["tags"]),
        ({"tags": ["a"] * 256}, ["tags"]),
        ({"tags": ["ok", ""]}, ["tags", 1]),
        ({"tags": ["two words"]}, ["tags", 0]),
        ({"tags": ["été"]}, ["tags", 0]),
        ({"tags": ["line\n"]}, ["tags", 0]),
        ({"tags": [LONG_TAG + "t"]}, ["tags", 0]),
        ({"tracking": {"opens": "yes"}}, ["tracking", "opens"]),
        ({"tracking": {"clicks_html": 1}}, ["tracking", "clicks_html"]),
        ({"tracking": {"clicks_text": None}}, ["tracking", "clicks_text"]),
        ({"additional_headers": {"name": "X", "value": "v"}}, ["additional_headers"]),
        ({"additional_headers": [{"name": "X"}]}, ["additional_headers", 0, "value"]),
        ({"additional_headers": [{"value": "v"}]}, ["additional_headers", 0, "name"]),
        ({"additional_headers": [{"name": "", "value": "v"}]}, ["additional_headers", 0, "name"]),
        ({"additional_headers": [{"name": "X", "value": "v\r\nBcc: x@y.example"}]}, ["additional_headers", 0, "value"]),
        ({"attachment": "a.pdf"}, ["attachment"]),
        (file(filename="a.PDF"), ["attachment", 0, "filename"]),
        (file(filename="a.jpg"), ["attachment", 0, "filename"]),
        (file(filename="a b.pdf"), ["attachment", 0, "filename"]),
        (file(filename="a.b.pdf"), ["attachment", 0, "filename"]),
        (file(filename="../a.pdf"), ["attachment", 0, "filename"]),
        (file(filename="a.pdf\n"), ["attachment", 0, "filename"]),
        (file(type="ics"), ["attachment", 0, "type"]),
        (file(content="YQ="), ["attachment", 0, "content"]),
        (file(content="YQ"), ["attachment", 0, "content"]),
        (file(content="YQ==\r\n"), ["attachment", 0, "content"]),
        (file(content="_-=="), ["attachment", 0, "content"]),
        ({"attachment": [FILE, {"filename": "a.pdf", "type": "pdf"}]}, ["attachment", 1, "content"]),
    ],
)
def test_what_the_schema_refuses_is_422(api, changes, loc):
    answer = api.submit(an_email(**changes))
    assert answer.status_code == 422, answer.text
    assert [detail["loc"] for detail in answer.json["detail"]] == [["body", *loc]]
    assert all(set(detail) == {"loc", "msg", "type"} for detail in answer.json["detail"])
    assert len(api.state.emails) == api.state.ledger.total == 0


@pytest.mark.parametrize(
    ("changes", "loc"),
    [
        ({"sender": {"id": "nobody"}}, ["sender", "id"]),
        ({"sender": {"id": OTHER_SENDER.id}}, ["sender", "id"]),
        ({"sender": {"id": UNCONFIRMED_SENDER.id}}, ["sender", "id"]),
        ({"email": None}, ["email"]),
        ({"email": None, "contact_id": 1}, ["email"]),
        ({"content": {"subject": "s", "type": "marketing"}}, ["content"]),
        ({"list_id": None}, ["list_id"]),
        ({"list_id": 424242}, ["list_id"]),
        ({"list_id": ARCHIVED_LIST.id}, ["list_id"]),
    ],
)
def test_what_the_account_cannot_do_is_400(api, changes, loc):
    answer = api.submit(an_email(**changes))
    assert answer.status_code == 400, answer.text
    assert [detail["loc"] for detail in answer.json["detail"]] == [["body", *loc]]
    assert len(api.state.emails) == api.state.ledger.total == 0


def test_all_mistakes_are_named_at_once(api):
    answer = api.submit(an_email(email="x", tags=["a b"], **content(subject="")))
    assert len(answer.json["detail"]) == 3


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"text"', b"\xff", b'{"email": "\\ud800"}'])
def test_bodies_that_are_no_json_object(api, body):
    headers = {"Content-Type": "application/json", **bearer("demo-access-token")}
    answer = api.http.post("/v2/emails", data=body, headers=headers)
    assert answer.status_code == 422
    assert answer.json["detail"][0]["loc"][0] == "body"


def test_a_body_of_another_type(api):
    headers = bearer("demo-access-token")
    assert api.http.post("/v2/emails", data=b"{}", content_type="text/plain", headers=headers).status_code == 422
    assert api.http.post("/v2/emails", data={"email": "x"}, headers=headers).status_code == 422


def test_a_list_is_optional_for_an_account_that_needs_none(api):
    assert api.submit(an_email(sender={"id": OTHER_SENDER.id}, list_id=None), OTHER).status_code == 201


def test_fields_the_api_does_not_know_are_taken_and_pointed_out(api):
    part = {**FILE, "content_id": "logo"}
    api.submitted(attachments=[FILE], attachment=[part], **content(plain="x"), sender={"id": SENDER.id, "email": "x"})
    email = api.http.get("/_sandbox/emails").json[0]
    assert sorted(email["unknown_fields"]) == [
        "attachment.0.content_id",
        "attachments",
        "content.plain",
        "sender.email",
    ]
    api.submitted()
    assert api.http.get("/_sandbox/emails").json[0]["unknown_fields"] == []
