"""The inbox page shows what was submitted, and nothing in an email can act on the page or reach the network."""

import base64
import re
import uuid

import pytest

from smtpgw.sandbox.accounts import DEMO, SENDER
from tests.support.sandbox_client import Caller

EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"
PNG = bytes.fromhex("89504e470d0a1a0a") + bytes(5000)


@pytest.fixture
def api() -> Caller:
    return Caller()


def test_an_empty_inbox_says_how_to_log_in(api):
    page = api.http.get("/")
    assert page.status_code == 200
    for words in (DEMO.email, DEMO.password, DEMO.access_token, SENDER.email, "CAKEMAIL_API_URL=http://localhost"):
        assert words in page.text
    assert "loopback only" in page.text


def test_the_list(api):
    part = {"filename": "invoice.pdf", "type": "pdf", "content": base64.b64encode(PNG).decode()}
    api.submitted(tags=["orders"], attachment=part, sender={"id": SENDER.id, "name": "Shop"})
    page = api.http.get("/").text
    for words in ("user@customer.example", "Hello", "orders", "invoice.pdf", "5.0 kB", "Shop", SENDER.email):
        assert words in page


def test_the_list_has_pages_newest_first(api):
    for number in range(51):
        api.submitted(content={"subject": f"Number {number}.", "type": "marketing", "text": "t"})
    first, second = api.http.get("/").text, api.http.get("/?page=2").text
    assert first.index("Number 50.") < first.index("Number 49.")
    assert "Number 0." not in first
    assert "Number 0." in second
    assert api.http.get("/?page=-1").status_code == api.http.get("/?page=x").status_code == 200


def test_the_list_is_searched(api):
    api.submitted(email="needle@customer.example")
    api.submitted(tags=["NEEDLE"])
    api.submitted(content={"subject": "haystack", "type": "marketing", "text": "needle"})
    page = api.http.get("/?q=Needle").text
    assert page.count("<time>") == 2
    assert "haystack" not in page
    assert "No email matches" in api.http.get("/?q=nothing").text


def test_a_status_that_is_no_acceptance_and_faults_are_shown(api):
    api.http.post("/_sandbox/faults", json={"kind": "rejected"})
    email_id = api.submitted()
    page = api.http.get("/").text
    assert '<span class="chip bad">rejected</span>' in page
    assert "1 fault set" in page
    assert ">rejected</span>" in api.http.get(f"/emails/{email_id}").text


def test_an_email(api):
    email_id = api.submitted(
        content={"subject": "Hello", "type": "transactional", "text": "the text", "html": "<b>the html</b>"},
        additional_headers=[{"name": "Reply-To", "value": "Help <help@cakemail.example>"}],
        tracking={"opens": False},
        tags=["one"],
        nonsense=1,
    )
    page = api.http.get(f"/emails/{email_id}").text
    for words in ("the text", "Reply-To", "Help &lt;help@cakemail.example&gt;", "opens off", "nonsense", email_id):
        assert words in page
    assert f'<iframe sandbox src="/emails/{email_id}/render"' in page
    assert api.http.get(f"/emails/{email_id}/render").text == "<b>the html</b>"
    assert api.http.get(f"/emails/{email_id}/request.json").json["content"]["text"] == "the text"


@pytest.mark.parametrize("many", [False, True])
def test_attachments_are_downloaded_as_they_were(api, many):
    part = {"filename": "photo.png", "type": "png", "content": base64.b64encode(PNG).decode()}
    email_id = api.submitted(attachment=[part] if many else part)
    page = api.http.get(f"/emails/{email_id}").text
    assert f'href="/emails/{email_id}/attachments/0"' in page
    assert part["content"] not in page
    answer = api.http.get(f"/emails/{email_id}/attachments/0")
    assert answer.data == PNG
    assert answer.headers["Content-Disposition"] == 'attachment; filename="photo.png"'
    assert (answer.mimetype, answer.headers["X-Content-Type-Options"]) == ("application/octet-stream", "nosniff")
    assert api.http.get(f"/emails/{email_id}/attachments/1").status_code == 404


def test_everything_is_escaped(api):
    email_id = api.submitted(
        sender={"id": SENDER.id, "name": EVIL},
        content={"subject": EVIL, "type": "marketing", "text": EVIL, "markup": {EVIL: EVIL}},
        additional_headers=[{"name": EVIL, "value": EVIL}],
        **{EVIL: EVIL},
    )
    pages = [api.http.get(path).text for path in ("/", f"/emails/{email_id}", f"/emails/{email_id}/render")]
    pages += [api.http.get("/", query_string={"q": EVIL}).text]
    for page in pages:
        assert "<script" not in page
        assert "<img" not in page
        assert "&lt;script&gt;" in page


def test_pages_run_no_script_and_load_nothing_from_elsewhere(api):
    email_id = api.submitted(content={"subject": "s", "type": "marketing", "html": "<p>"})
    for path in ("/", f"/emails/{email_id}", "/emails/none"):
        answer = api.http.get(path)
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert "script-src" not in answer.headers["Content-Security-Policy"]
        assert "<script" not in answer.text
        linked = re.findall(r'(?:src|href|action)="([^"]*)"', answer.text)
        assert linked
        assert [link for link in linked if not link.startswith(("/", "data:image/svg+xml,"))] == []
    with api.http.get("/static/inbox.css") as css:
        assert css.mimetype == "text/css"


def test_the_html_of_an_email_is_shut_in(api):
    html = "<script>alert(1)</script><img src='https://tracker.example/1.gif'>"
    email_id = api.submitted(content={"subject": "s", "type": "marketing", "html": html})
    answer = api.http.get(f"/emails/{email_id}/render")
    policy = [directive.strip() for directive in answer.headers["Content-Security-Policy"].split(";")]
    assert {"default-src 'none'", "img-src data:", "sandbox"} <= set(policy)
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_an_email_that_is_not_there(api):
    for rest in ("", "/render", "/request.json", "/attachments/0"):
        answer = api.http.get(f"/emails/{uuid.uuid4()}{rest}")
        assert (answer.status_code, answer.mimetype) == (404, "text/html")
        assert "There is no such email" in answer.text


def test_odd_numbers_are_shown_as_they_came(api):
    body = (
        b'{"email":"a@b.example","sender":{"id":"%s"},"list_id":5002,"content":{"subject":"s","type":"marketing",'
        % (SENDER.id.encode())
    )
    body += b'"text":"t","markup":{"big":1%s,"nan":NaN}}}' % (b"0" * 40)
    headers = {"Authorization": f"Bearer {DEMO.access_token}", "Content-Type": "application/json"}
    email_id = api.http.post("/v2/emails", data=body, headers=headers).json["data"]["id"]
    assert "1" + "0" * 40 in api.http.get(f"/emails/{email_id}").text
    assert api.http.get("/_sandbox/emails").status_code == 200


@pytest.mark.parametrize("host", ["localhost:8025", "127.0.0.1", "127.0.0.2:1", "[::1]:8025"])
def test_names_it_answers_to(api, host):
    assert api.http.get("/", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", ["attacker.example", "attacker.example:8025", "10.0.0.1", "[::2]", "[", ""])
@pytest.mark.parametrize("path", ["/", "/_sandbox/emails", "/lists"])
def test_names_it_does_not_answer_to(api, host, path):
    answer = api.http.get(path, headers={"Host": host})
    assert (answer.status_code, answer.json["detail"][0]["type"]) == (403, "forbidden")
