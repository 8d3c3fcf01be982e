"""The sandbox answers the API's calls as its schema says: log in, account, senders, lists, submit, look at it."""

import base64
import hashlib
import uuid

import pytest

from smtpgw.sandbox.accounts import (
    ACTIVE_LIST,
    ARCHIVED_LIST,
    DEMO,
    MULTI_FACTOR,
    OTHER,
    OTHER_SENDER,
    SECOND_PAGE_SENDER,
    SENDER,
    SUB_ACCOUNT,
    SUB_ACCOUNT_LIST,
    SUB_ACCOUNT_SENDER,
    UNCONFIRMED_SENDER,
)
from tests.support.sandbox_client import Caller, an_email, bearer


@pytest.fixture
def api() -> Caller:
    return Caller()


# --- POST /token -----------------------------------------------------------------------------------------------------


def test_password_grant(api):
    answer = api.log_in()
    assert answer.status_code == 200
    assert set(answer.json) == {"access_token", "token_type", "expires_in", "refresh_token", "accounts"}
    assert (answer.json["token_type"], answer.json["expires_in"]) == ("bearer", 3600)
    assert answer.json["accounts"] == [DEMO.id, SUB_ACCOUNT.id]
    seen = api.http.get("/accounts/self", headers=bearer(answer.json["access_token"]))
    assert seen.json["data"]["id"] == str(DEMO.id)


def test_email_of_a_login_has_no_case(api):
    assert api.log_in(username=DEMO.email.upper()).status_code == 200


def test_refresh_grant(api):
    refresh = api.log_in().json["refresh_token"]
    answer = api.http.post("/token", data={"grant_type": "refresh_token", "refresh_token": refresh})
    assert answer.status_code == 200
    assert api.http.get("/lists", headers=bearer(answer.json["access_token"])).status_code == 200


@pytest.mark.parametrize("form", [{"password": "wrong"}, {"username": "nobody@cakemail.example"}])
def test_wrong_password_and_unknown_user_get_the_same_401(api, form):
    answer = api.log_in(**form)
    assert answer.status_code == 401
    assert answer.json == {"detail": [{"msg": "Invalid username or password", "type": "unauthorized"}]}


def test_an_access_token_refreshes_nothing_and_a_refresh_token_opens_nothing(api):
    tokens = api.log_in().json
    swapped = api.http.post("/token", data={"grant_type": "refresh_token", "refresh_token": tokens["access_token"]})
    assert swapped.status_code == 401
    assert api.http.get("/lists", headers=bearer(tokens["refresh_token"])).status_code == 401


def test_multi_factor_account_gets_a_challenge_once_the_password_is_right(api):
    answer = api.log_in(MULTI_FACTOR)
    assert answer.status_code == 401
    assert list(answer.json) == ["challenge"]
    assert "detail" in api.log_in(MULTI_FACTOR, password="wrong").json


def test_multi_factor_account_has_an_access_token(api):
    assert api.get("/accounts/self", MULTI_FACTOR).json["data"]["name"] == MULTI_FACTOR.name


def test_password_grant_for_a_sub_account(api):
    token = api.log_in(account_id=SUB_ACCOUNT.id).json["access_token"]
    assert api.http.get("/accounts/self", headers=bearer(token)).json["data"]["id"] == str(SUB_ACCOUNT.id)
    refused = api.log_in(account_id=OTHER.id)
    assert (refused.status_code, refused.json["detail"][0]["type"]) == (403, "forbidden")


@pytest.mark.parametrize(
    ("form", "loc"),
    [
        ({"username": DEMO.email}, ["body"]),
        ({"password": DEMO.password}, ["body"]),
        ({"grant_type": "refresh_token"}, ["body"]),
        ({"username": "apikey", "password": "x"}, ["body", "username"]),
        ({"username": DEMO.email, "password": "x", "grant_type": "client_credentials"}, ["body", "grant_type"]),
        ({"username": DEMO.email, "password": "x", "scopes": "user,root"}, ["body", "scopes"]),
        ({"username": DEMO.email, "password": "x", "expiration_seconds": "599"}, ["body", "expiration_seconds"]),
        ({"username": DEMO.email, "password": "x", "account_id": "one"}, ["body", "account_id"]),
    ],
)
def test_malformed_forms(api, form, loc):
    answer = api.http.post("/token", data=form)
    assert answer.status_code == 422
    assert answer.json["detail"][0]["loc"] == loc
    assert set(answer.json["detail"][0]) == {"loc", "msg", "type"}


def test_the_token_call_takes_a_form_and_not_json(api):
    answer = api.http.post("/token", json={"username": DEMO.email, "password": DEMO.password})
    assert answer.status_code == 422


def test_no_refusal_repeats_the_password(api):
    answer = api.http.post("/token", data={"username": "x", "password": "hunter2"})
    assert "hunter2" not in answer.text


def test_life_asked_for(api):
    assert api.log_in(expiration_seconds=600, scopes="user,admin").json["expires_in"] == 600


# --- Bearer tokens ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/accounts/self", "/brands/default/senders", "/lists", f"/v2/emails/{uuid.uuid4()}"])
@pytest.mark.parametrize("header", [None, "Bearer wrong", "Bearer", f"Basic {DEMO.access_token}", DEMO.access_token])
def test_data_is_for_bearers_of_a_token(api, path, header):
    answer = api.http.get(path, headers={"Authorization": header} if header else {})
    assert answer.status_code == 401
    assert answer.json["detail"][0]["type"] == "unauthorized"
    assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_submitting_is_for_bearers_of_a_token(api):
    assert api.http.post("/v2/emails", json=an_email()).status_code == 401
    assert len(api.state.emails) == 0


@pytest.mark.parametrize("path", ["/brands/default/senders", "/lists"])
def test_acting_for_a_sub_account_and_for_no_other(api, path):
    assert api.get(path, account_id=SUB_ACCOUNT.id).status_code == 200
    assert api.get(path, account_id=DEMO.id).status_code == 200
    for stranger in (OTHER.id, 424242):
        assert api.get(path, account_id=stranger).status_code == 403
    assert api.get(path, OTHER, account_id=DEMO.id).status_code == 403
    assert api.get(path, account_id=0).status_code == 422


# --- Account, senders, lists -----------------------------------------------------------------------------------------


def test_account(api):
    data = api.get("/accounts/self").json["data"]
    assert (data["id"], data["name"], data["status"]) == (str(DEMO.id), DEMO.name, "active")


def test_senders_come_in_pages_of_fifty(api):
    first = api.get("/brands/default/senders").json
    second = api.get("/brands/default/senders", page=2).json
    assert first["pagination"] == {"page": 1, "per_page": 50}
    assert [len(first["data"]), len(second["data"])] == [50, 3]
    assert SENDER.email in [s["email"] for s in first["data"]]
    assert SECOND_PAGE_SENDER.email in [s["email"] for s in second["data"]]
    assert api.get("/brands/default/senders", page=3).json["data"] == []


def test_a_sender_as_the_schema_has_it(api):
    found = {s["email"]: s for s in api.get("/brands/default/senders").json["data"]}
    confirmed, waiting = found[SENDER.email], found[UNCONFIRMED_SENDER.email]
    assert (confirmed["id"], confirmed["name"], confirmed["confirmed"]) == (SENDER.id, SENDER.name, True)
    assert waiting["confirmed"] is False
    assert "confirmed_on" not in waiting


def test_senders_counted_and_in_any_page_size(api):
    answer = api.get("/brands/default/senders", per_page=100, with_count="true").json
    assert answer["pagination"] == {"page": 1, "per_page": 100, "count": 53}
    assert len(answer["data"]) == 53


def test_senders_sorted(api):
    def emails(sort):
        return [s["email"] for s in api.get("/brands/default/senders", per_page=100, sort=sort).json["data"]]

    assert emails("+email") == emails("email") == sorted(emails("name"))
    assert emails("-email") == sorted(emails("name"), reverse=True)
    assert emails("+confirmed")[0] == UNCONFIRMED_SENDER.email
    assert api.get("/brands/default/senders", sort="created_on").status_code == 422


def test_lists(api):
    answer = api.get("/lists").json
    assert [each["id"] for each in answer["data"]] == [ARCHIVED_LIST.id, ACTIVE_LIST.id]
    assert answer["data"][1]["default_sender"] == {"name": SENDER.name, "email": SENDER.email}
    assert api.get("/lists", OTHER).json["data"] == []


def test_lists_filtered_and_sorted(api):
    def ids(**query):
        return [each["id"] for each in api.get("/lists", **query).json["data"]]

    assert ids(filter="status==active") == [ACTIVE_LIST.id]
    assert ids(filter=f"status==active;name=={ARCHIVED_LIST.name}") == []
    assert ids(sort="+created_on") == [ARCHIVED_LIST.id, ACTIVE_LIST.id]
    assert ids(sort="-created_on") == [ACTIVE_LIST.id, ARCHIVED_LIST.id]
    assert ids(sort="+created_on", per_page=1, page=2) == [ACTIVE_LIST.id]


@pytest.mark.parametrize(
    "query",
    [
        {"page": 0},
        {"page": "one"},
        {"per_page": 0},
        {"with_count": "perhaps"},
        {"sort": "status"},
        {"filter": "created_on==1"},
        {"filter": "status=active"},
        {"filter": "status==active;"},
    ],
)
def test_queries_that_lists_do_not_take(api, query):
    answer = api.get("/lists", **query)
    assert answer.status_code == 422
    assert answer.json["detail"][0]["loc"] == ["query", next(iter(query))]


# --- Emails ----------------------------------------------------------------------------------------------------------


def test_submit(api):
    answer = api.submit(an_email())
    assert answer.status_code == 201
    assert answer.json.pop("data")["status"] == "queued"
    assert (answer.json["email"], answer.json["object"], answer.json["submitted"]) == (
        "user@customer.example",
        "email",
        True,
    )
    uuid.UUID(answer.json["data"]["id"])


def test_a_submitted_email_can_be_looked_at(api):
    email_id = api.submitted(
        sender={"id": SENDER.id, "name": "Support"},
        tags=["one", "two"],
        tracking={"opens": False},
        additional_headers=[{"name": "X-Order", "value": "42"}],
    )
    seen = api.get(f"/v2/emails/{email_id}").json
    assert (seen["email_id"], seen["status"], seen["email"]) == (email_id, "queued", "user@customer.example")
    assert seen["sender"] == {"id": SENDER.id, "name": "Support", "email": SENDER.email}
    assert seen["content"] == {"subject": "Hello", "type": "transactional"}
    assert seen["tracking"] == {"opens": False, "clicks_html": True, "clicks_text": True}
    assert (seen["tags"], seen["list_id"]) == (["one", "two"], ACTIVE_LIST.id)
    assert seen["additional_headers"] == [{"name": "X-Order", "value": "42"}]


def test_render(api):
    html = api.submitted(content={"subject": "s", "type": "marketing", "html": "<h1>Hi</h1>"})
    answer = api.get(f"/v2/emails/{html}/render", as_submitted="true")
    assert (answer.text, answer.mimetype) == ("<h1>Hi</h1>", "text/html")
    assert "sandbox" in answer.headers["Content-Security-Policy"]
    text = api.submitted(content={"subject": "<s>", "type": "marketing", "text": "a < b"})
    assert "a &lt; b" in api.get(f"/v2/emails/{text}/render").text
    assert api.get(f"/v2/emails/{html}/render", tracking="perhaps").status_code == 422


@pytest.mark.parametrize("rest", ["", "/render"])
def test_emails_that_are_not_there(api, rest):
    assert api.get(f"/v2/emails/{uuid.uuid4()}{rest}").status_code == 400
    malformed = api.get(f"/v2/emails/not-a-uuid{rest}")
    assert (malformed.status_code, malformed.json["detail"][0]["loc"]) == (422, ["path", "email_id"])


def test_accounts_do_not_see_each_other(api):
    email_id = api.submitted()
    assert api.get(f"/v2/emails/{email_id}", OTHER).status_code == 400
    theirs = an_email(sender={"id": OTHER_SENDER.id}, list_id=None)
    assert api.submit(theirs, OTHER).status_code == 201
    assert api.submit(theirs).status_code == 400
    assert api.submit(an_email(), OTHER).status_code == 400


def test_submit_for_a_sub_account(api):
    branch = an_email(sender={"id": SUB_ACCOUNT_SENDER.id}, list_id=SUB_ACCOUNT_LIST.id)
    answer = api.submit(branch, account_id=SUB_ACCOUNT.id)
    assert answer.status_code == 201
    path = f"/v2/emails/{answer.json['data']['id']}"
    assert api.get(path).status_code == 400
    assert api.get(path, account_id=SUB_ACCOUNT.id).status_code == 200
    assert api.submit(branch).status_code == 400
    assert api.submit(branch, account_id=OTHER.id).status_code == 403


def test_attachments_are_counted_and_digested(api):
    content = bytes(range(256)) * 50
    part = {"filename": "report_2024-A.pdf", "type": "pdf", "content": base64.b64encode(content).decode()}
    api.submitted(attachment=part)
    api.submitted(attachment=[part, {"filename": "x.ics", "type": "calendar", "content": ""}])
    two, one = [email["attachments"] for email in api.http.get("/_sandbox/emails").json]
    known = {"filename": "report_2024-A.pdf", "type": "pdf", "size_bytes": 12800}
    assert one == [{**known, "sha256": hashlib.sha256(content).hexdigest()}]
    assert two == [
        *one,
        {"filename": "x.ics", "type": "calendar", "size_bytes": 0, "sha256": hashlib.sha256().hexdigest()},
    ]


def test_addresses_that_do_not_exist(api):
    answer = api.http.get("/v3/emails")
    assert (answer.status_code, answer.mimetype) == (404, "application/json")
    assert api.http.get("/token").status_code == 405


def test_health(api):
    assert api.http.get("/health").json == {"status": "ok"}
