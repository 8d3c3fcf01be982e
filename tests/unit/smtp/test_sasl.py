"""AUTH PLAIN and LOGIN (RFC 4954, RFC 4616): their challenges, and the responses that are accepted and rejected."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpgw.core import replies
from smtpgw.core.models import Credentials
from smtpgw.core.replies import SMTPError
from smtpgw.smtp import sasl

MALFORMED, CANCELLED, BAD = replies.AUTH_MALFORMED, replies.AUTH_CANCELLED, replies.BAD_CREDENTIALS
CONTROL = replies.CONTROL_IN_CREDENTIALS


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


class Client:
    """A client that answers challenges from a list and stores them."""

    def __init__(self, *responses: str) -> None:
        self.responses = list(responses)
        self.asked: list[str] = []

    def __call__(self, challenge: str) -> str:
        self.asked.append(challenge)
        return self.responses.pop(0)


def test_mechanisms():
    assert set(sasl.MECHANISMS) == {"PLAIN", "LOGIN"}


@pytest.mark.parametrize(
    ("initial", "responses", "asked"),
    [
        (encoded("\0ann@example.com\0pass word"), [], []),
        ("", [encoded("\0ann@example.com\0pass word")], [""]),
        (encoded("ann@example.com\0ann@example.com\0pass word"), [], []),  # for oneself is what everybody acts
    ],
)
def test_plain(initial, responses, asked):
    client = Client(*responses)
    assert sasl.plain(initial, client) == Credentials("ann@example.com", "pass word")
    assert client.asked == asked


@pytest.mark.parametrize(
    ("initial", "responses", "asked"),
    [
        ("", [encoded("ann@example.com"), encoded("pass word")], ["VXNlcm5hbWU6", "UGFzc3dvcmQ6"]),
        (encoded("ann@example.com"), [encoded("pass word")], ["UGFzc3dvcmQ6"]),
    ],
)
def test_login(initial, responses, asked):
    client = Client(*responses)
    assert sasl.login(initial, client) == Credentials("ann@example.com", "pass word")
    assert client.asked == asked
    assert client.responses == []


def test_the_challenges_of_login_are_the_words_that_every_client_knows():
    assert base64.b64decode(sasl.USERNAME) == b"Username:"
    assert base64.b64decode(sasl.PASSWORD) == b"Password:"


@pytest.mark.parametrize(
    ("initial", "reply"),
    [
        ("*", CANCELLED),
        ("=", MALFORMED),
        ("!", MALFORMED),
        ("YQ", MALFORMED),  # no padding
        ("YQ==YQ==", MALFORMED),
        ("Y Q==", MALFORMED),
        (base64.b64encode(b"\0\xff\0x").decode(), MALFORMED),
        ("é", MALFORMED),
        (encoded("ann"), MALFORMED),
        (encoded("ann\0secret"), MALFORMED),
        (encoded("\0ann\0secret\0"), MALFORMED),
        (encoded("bob\0ann\0secret"), BAD),  # RFC 4616 §2: to act for somebody else
    ],
)
@pytest.mark.parametrize("comes_with_the_command", [True, False])
def test_plain_refused(initial, reply, comes_with_the_command):
    client = Client(initial)
    with pytest.raises(SMTPError) as caught:
        sasl.plain(initial if comes_with_the_command else "", client)
    assert caught.value.reply is reply


@pytest.mark.parametrize("at", [0, 1])
@pytest.mark.parametrize(("response", "reply"), [("*", CANCELLED), ("!!", MALFORMED), ("/w==", MALFORMED)])
def test_login_refused_at_either_question(at, response, reply):
    responses = [encoded("ann"), encoded("secret")]
    responses[at] = response
    client = Client(*responses)
    with pytest.raises(SMTPError) as caught:
        sasl.login("", client)
    assert caught.value.reply is reply
    assert len(client.asked) == at + 1


@pytest.mark.parametrize("empty", ["", "="])
def test_an_empty_response_is_an_empty_text(empty):
    assert sasl.decode_response(empty) == ""


@pytest.mark.parametrize("control", [chr(n) for n in (*range(1, 32), *range(127, 160))], ids=lambda c: f"{ord(c):02x}")
def test_credentials_with_a_control_character_are_bad_both_ways(control):
    for username, password in [(f"ann{control}", "secret"), ("ann", f"sec{control}ret"), (control, control)]:
        with pytest.raises(SMTPError) as plain:
            sasl.plain(encoded(f"\0{username}\0{password}"), Client())
        with pytest.raises(SMTPError) as login:
            sasl.login("", Client(encoded(username), encoded(password)))
        assert plain.value.reply is login.value.reply is CONTROL


def test_a_nul_that_login_carries_is_a_control_character():
    with pytest.raises(SMTPError) as caught:
        sasl.login("", Client(encoded("ann\0bob"), encoded("secret")))
    assert caught.value.reply is CONTROL


name = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1)


@given(name, name)
def test_any_name_and_password_come_through_both_ways(username, password):
    wanted = Credentials(username, password)
    assert sasl.plain(encoded(f"\0{username}\0{password}"), Client()) == wanted
    assert sasl.login("", Client(encoded(username), encoded(password))) == wanted


def reply_to(response: str) -> replies.Reply | None:
    """Return the reply that rejects a response, None when it is accepted. Any other exception fails the test."""
    try:
        sasl.decode_response(response)
    except SMTPError as refused:
        return refused.reply
    return None


@given(st.text(max_size=100) | st.from_regex(r"[A-Za-z0-9+/=]{0,12}", fullmatch=True))
def test_any_response_is_read_or_refused(response):
    assert reply_to(response) in (None, MALFORMED, CANCELLED)


def test_a_password_is_in_no_representation():
    credentials = sasl.plain(encoded("\0ann\0open sesame"), Client())
    assert "sesame" not in repr(credentials) + str(credentials)
