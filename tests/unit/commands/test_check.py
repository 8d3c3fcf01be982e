"""`python -m smtpgw check` against the sandbox, as a user runs it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from smtpgw.sandbox.accounts import ACTIVE_LIST, DEMO, MULTI_FACTOR, OTHER, SECOND_PAGE_SENDER, SENDER

ROOT = Path(__file__).parent.parent.parent.parent


def check(*arguments: str, password: str = "", **variables: str) -> subprocess.CompletedProcess:
    """Run it with these arguments, and the password where users are told to put it."""
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("SMTPGW_", "CAKEMAIL_"))}
    if password:
        environ["CAKEMAIL_PASSWORD"] = password
    return subprocess.run(
        [sys.executable, "-m", "smtpgw", "check", *arguments],
        cwd=ROOT,
        env={**environ, **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )


def lines(run: subprocess.CompletedProcess) -> dict[str, str]:
    """What it said, by the word at the beginning of each line."""
    return {line[:8].strip(): line[9:] for line in run.stdout.splitlines()}


def test_it_tells_senders_and_list_and_sends_nothing(sandbox):
    run = check("--api", sandbox.url, "--user", DEMO.email, password=DEMO.password)
    said = lines(run)
    assert run.returncode == 0, run
    assert said["API"] == sandbox.url
    assert said["Login"] == f"accepted, account {DEMO.id}"
    assert said["Senders"].startswith(f"confirmed: {SENDER.email}, ")
    assert said["Senders"].endswith(", … 52 in all")
    assert said[""] == "not confirmed, so refused: unconfirmed@cakemail.example"
    assert said["List"].startswith(f"{ACTIVE_LIST.id},")
    assert said["Mail"].startswith("none sent")
    assert sandbox.emails() == []
    assert "POST /v2/emails" not in sandbox.calls()
    assert DEMO.password not in run.stdout + run.stderr


def test_it_sends_one_mail_when_asked_to(sandbox):
    arguments = ["--from", SECOND_PAGE_SENDER.email, "--to", "me@example.com"]
    run = check("--api", sandbox.url, "--user", DEMO.email, *arguments, password=DEMO.password)
    (mail,) = sandbox.emails()
    assert run.returncode == 0, run
    assert lines(run)["Mail"] == f"250 2.0.0 Ok: queued as {mail['id']}"
    assert mail["email"] == "me@example.com"
    assert mail["sender"]["id"] == SECOND_PAGE_SENDER.id
    assert mail["request"]["list_id"] == ACTIVE_LIST.id


def test_the_api_may_come_from_the_environment(sandbox):
    run = check("--user", OTHER.email, password=OTHER.password, CAKEMAIL_API_URL=sandbox.url)
    assert run.returncode == 0, run
    assert lines(run)["List"] == "none"


def test_an_access_token_logs_in(sandbox):
    run = check("--api", sandbox.url, "--user", "apikey", password=MULTI_FACTOR.access_token)
    assert run.returncode == 0, run
    assert lines(run)["Login"] == f"accepted, account {MULTI_FACTOR.id}"
    assert MULTI_FACTOR.access_token not in run.stdout + run.stderr


def test_a_wrong_password_is_refused(sandbox):
    run = check("--api", sandbox.url, "--user", DEMO.email, password="something else")
    assert run.returncode == 1
    assert lines(run)["Refused"].startswith("535 5.7.8 Authentication failed")
    assert "something else" not in run.stdout + run.stderr


def test_multi_factor_authentication_says_what_to_do(sandbox):
    run = check("--api", sandbox.url, "--user", MULTI_FACTOR.email, password=MULTI_FACTOR.password)
    assert run.returncode == 1
    assert "use 'apikey' as user name and a Cakemail access token as password" in lines(run)["Refused"]


@pytest.mark.parametrize("address", ["unconfirmed@cakemail.example", "nobody@cakemail.example"])
def test_a_sender_that_is_not_confirmed_is_refused(sandbox, address):
    arguments = ["--from", address, "--to", "me@example.com"]
    run = check("--api", sandbox.url, "--user", DEMO.email, *arguments, password=DEMO.password)
    assert run.returncode == 1
    assert lines(run)["From"] == f"{address} is not a confirmed sender of this account"
    assert sandbox.emails() == []


def test_what_the_api_refuses_is_told(sandbox):
    sandbox.fault(endpoint="/v2/emails", status=400, body={"detail": [{"msg": "Not today", "type": "value_error"}]})
    run = check("--api", sandbox.url, "--user", DEMO.email, "--to", "me@example.com", password=DEMO.password)
    assert run.returncode == 1
    assert "Not today" in lines(run)["Refused"]


def test_an_api_that_fails_is_told(sandbox):
    sandbox.fault(endpoint="/brands/default/senders", status=500)
    run = check("--api", sandbox.url, "--user", DEMO.email, password=DEMO.password)
    assert run.returncode == 2
    assert "Senders" not in lines(run)


def test_an_api_that_cannot_be_reached_is_told():
    run = check("--api", "http://127.0.0.1:1", "--user", DEMO.email, password=DEMO.password)
    assert run.returncode == 2
    assert lines(run)["Failed"].startswith("454 4.7.0 Cannot check your credentials now")


@pytest.mark.parametrize(
    ("arguments", "password", "said"),
    [
        ([], "x", "--user"),
        (["--user", "a@example.com"], "", "CAKEMAIL_PASSWORD"),
        (["--user", "a@example.com", "--api", "http://example.com"], "x", "https://"),
        (["--user", "a@example.com", "--password", "x"], "", "--password"),
    ],
)
def test_wrong_usage_is_told(arguments, password, said):
    run = check(*arguments, password=password)
    assert run.returncode == 2
    assert said in run.stderr
    assert run.stdout == ""
