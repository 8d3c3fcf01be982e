"""What the sandbox's own tests share: a caller of its API, and an email that it accepts."""

from typing import Any

from werkzeug.test import TestResponse

from smtpgw.sandbox.accounts import ACTIVE_LIST, DEMO, SENDER, Account
from smtpgw.sandbox.app import create_app
from smtpgw.sandbox.state import State


def an_email(**changes: object) -> dict[str, Any]:
    """A body of POST /v2/emails that the demo account may submit; a change to None leaves the field out."""
    email = {
        "email": "user@customer.example",
        "sender": {"id": SENDER.id},
        "content": {"subject": "Hello", "type": "transactional", "text": "Hi there"},
        "list_id": ACTIVE_LIST.id,
        **changes,
    }
    return {name: value for name, value in email.items() if value is not None}


class Caller:
    """Calls a sandbox in this process, as an account."""

    def __init__(self, state: State | None = None) -> None:
        self.state = state or State()
        self.http = create_app(self.state).test_client()

    def get(self, path: str, account: Account = DEMO, **query: object) -> TestResponse:
        return self.http.get(path, query_string=query, headers=bearer(account.access_token))

    def submit(self, body: object, account: Account = DEMO, **query: object) -> TestResponse:
        return self.http.post("/v2/emails", json=body, query_string=query, headers=bearer(account.access_token))

    def submitted(self, **changes: object) -> str:
        """Submit an email that must be accepted. Returns its id."""
        answer = self.submit(an_email(**changes))
        assert answer.status_code == 201, answer.text
        email_id: str = answer.json["data"]["id"]
        return email_id

    def log_in(self, account: Account = DEMO, **form: object) -> TestResponse:
        return self.http.post("/token", data={"username": account.email, "password": account.password, **form})


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}
