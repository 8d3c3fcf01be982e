"""A message to a thousand recipients: what it costs, what is left when its time is up, and who waits for it."""

import json
import time
from collections import Counter
from collections.abc import Iterator

import gevent
import pytest

from smtpgw.cakemail.client import Cakemail
from smtpgw.core.models import MAX_ADDRESS_CHARS, Credentials
from smtpgw.submission.bounces import MAX_REASON_CHARACTERS
from smtpgw.submission.translation import EmailRequest
from tests.support.gateway import SENDER, USERNAME, Gateway
from tests.support.raw_api import QUEUED, TOKEN, RawApi, Request, http
from tests.support.sandbox import Sandbox
from tests.support.submitting import Submitting, message

EMAILS = "/v2/emails"
THOUSAND = [f"recipient-{n}@customer.example" for n in range(1000)]


class Api(RawApi):
    """Notes who is written to by whom, as it happens; each call takes a while."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds = 0.0
        self.refused: frozenset[str] = frozenset()
        self.asked: list[tuple[str, str]] = []  # recipient, token
        self.bodies: list[bytes] = []  # of the notices
        self.answers[EMAILS] = self.take
        self.answers["/token"] = lambda request: http(
            {**TOKEN, "access_token": "campaign", "accounts": [2]}
            if b"campaign" in request.body
            else {**TOKEN, "access_token": "other"}
        )

    def take(self, request: Request) -> bytes:
        recipient = json.loads(request.body)["email"]
        self.asked.append((recipient, request.fields["authorization"].removeprefix("bearer ")))
        gevent.sleep(self.seconds)
        if recipient in self.refused:
            return http({"detail": [{"msg": "no such mailbox " * 40, "loc": ["body", "email"]}]}, 422)
        if recipient == SENDER:
            self.bodies.append(request.body)
        return http(QUEUED, 201)


@pytest.fixture
def api() -> Iterator[Api]:
    with Api() as served:
        yield served


def test_a_thousand_are_taken_and_the_next_is_told_to_come_as_another_message(
    sandbox: Sandbox, gateway: Gateway
) -> None:
    """RFC 5321 §4.5.3.1.10: 452 for each beyond the limit, and those before it get the message."""
    with gateway.client() as client:
        assert client.mail(SENDER)[0] == 250
        codes = [client.rcpt(recipient)[0] for recipient in THOUSAND]
        assert codes == [250] * 1000
        for recipient in ("one@more.example", "another@more.example"):
            code, text = client.rcpt(recipient)
            assert (code, text[:45]) == (452, b"4.5.3 Too many recipients; send the rest as a")
        assert client.rcpt(THOUSAND[0])[0] == 250, "one of those it has"
        assert client.data(message("thousand"))[0] == 250
    ledger = sandbox.ledger()
    assert ledger["total"] == ledger["distinct"] == 1000


def test_a_list_with_bad_addresses_reaches_the_others(sandbox: Sandbox, gateway: Gateway) -> None:
    """All bad recipients of one message are one mistake, and count as recipients: a list of them has an end, too."""
    with gateway.client() as client:
        assert client.mail(SENDER)[0] == 250
        assert [client.rcpt(f"bad{n}")[0] for n in range(50)] == [553] * 50
        codes = [client.rcpt(recipient)[0] for recipient in THOUSAND]
        assert codes == [250] * 950 + [452] * 50
        assert client.rcpt("bad again")[0] in (452, 501, 553)
        assert client.data(message("bad addresses"))[0] == 250
    assert sandbox.ledger()["distinct"] == 950


def test_bad_recipients_of_message_after_message_end_the_session(gateway: Gateway) -> None:
    with gateway.client() as client:
        codes = []
        for _ in range(9):
            client.mail(SENDER)
            codes += [client.rcpt("bad")[0], client.rcpt("bad")[0]]
            client.rset()
        assert codes == [553] * 18
        client.mail(SENDER)
        assert client.rcpt("bad")[0] == 553
        code, text = client.getreply()
        assert (code, text[:35]) == (421, b"4.7.0 localhost saw too many errors")


def test_the_addresses_of_a_message_have_a_bound(gateway: Gateway) -> None:
    """Before DATA nothing else counts them, and every session may hold as many."""
    domain = ".".join(["d" * 60] * 3) + ".example"
    with gateway.client() as client:
        assert client.mail(SENDER)[0] == 250
        codes = [client.rcpt(f"{n:05}@{domain}")[0] for n in range(1000)]
    assert codes.count(250) == MAX_ADDRESS_CHARS // len(f"00000@{domain}") > 100
    assert set(codes) == {250, 452}


def test_what_is_not_done_in_time_is_deferred_and_a_retry_submits_only_that(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    rendered: Counter[str] = Counter()
    body_for = EmailRequest.body_for

    def counted(self: EmailRequest, recipient: str) -> bytes:
        rendered[recipient] += 1
        return body_for(self, recipient)

    monkeypatch.setattr(EmailRequest, "body_for", counted)
    api.seconds = 0.06
    variables = {
        "SMTPGW_SUBMIT_TIMEOUT_SECONDS": "2",
        "SMTPGW_API_TIMEOUT_SECONDS": "2",
        "SMTPGW_API_RETRY_SECONDS": "1",
    }
    with Submitting(api.url, **variables) as made:
        raw, replies = message("campaign"), []
        for _ in range(20):
            began, before = time.monotonic(), len(api.asked)
            replies.append(made.send(THOUSAND, raw, heard=False).code)
            assert time.monotonic() - began < 10
            assert len(api.asked) > before, "each attempt gets further"
            if replies[-1] == 250:
                break
        assert replies[:1] == [451]
        assert replies[-1] == 250
        asked = Counter(recipient for recipient, _ in api.asked)
        assert asked == dict.fromkeys(THOUSAND, 1)
        assert rendered == asked, "nothing is rendered that there is no time for"
        assert len(made.gateway.ledger.kept) == 1000


def test_a_campaign_to_thousands_keeps_nobody_from_the_api(api: Api) -> None:
    """It has two hundred calls waiting all the time; another account's waits for a few of them."""
    api.seconds = 0.02
    with Submitting(api.url, SMTPGW_API_CONNECTIONS="8", SMTPGW_API_WAIT_SECONDS="20") as made:
        campaign, other = (
            made.gateway.logins.login(Credentials(name, "x")) for name in ("campaign@cakemail.example", USERNAME)
        )
        for account in (campaign, other):
            assert (
                made.send(["before@customer.example"], message(f"{account.credentials}"), account=account).code == 250
            )
        bulk = [
            gevent.spawn(made.send, [f"{n}-{r}" for r in THOUSAND[:200]], message(f"bulk-{n}"), account=campaign)
            for n in range(20)
        ]
        while made.gateway.delivery.api.waiting < 190:
            gevent.sleep(0.01)
        for n in range(5):
            before = len(api.asked)
            assert made.send([f"small-{n}@customer.example"], message(f"small-{n}"), account=other).code == 250
            place = [recipient for recipient, _ in api.asked[before:]].index(f"small-{n}@customer.example")
            assert place <= 2 * 8, "calls that went before"
        assert made.gateway.delivery.api.waiting > 100, "the campaign is still waiting"
        gevent.killall(bulk)


def test_logins_of_one_account_share_its_connections(api: Api) -> None:
    """An account may have several tokens. While its calls hang, another account still gets a connection."""
    tokens = {"one": 1, "two": 1, "other": 2}
    api.answers["/accounts/self"] = lambda request: http(
        {"data": {"id": tokens[request.fields["authorization"].removeprefix("bearer ")]}}
    )

    def answer(request: Request) -> bytes | None:
        if not request.fields["authorization"].endswith("other"):
            gevent.sleep(30)
        return api.take(request)

    with Submitting(api.url, SMTPGW_API_CONNECTIONS="4", SMTPGW_API_WAIT_SECONDS="0.3") as made:
        one, two, other = (made.gateway.logins.login(Credentials("apikey", token)) for token in tokens)
        for account in (one, other):
            assert made.send(["before@customer.example"], message(f"before-{account.id}"), account=account).code == 250
        api.answers["/v2/emails"] = answer
        hanging = [
            gevent.spawn(made.send, [f"{n}@customer.example"], message(f"hangs-{n}"), account=account)
            for n, account in enumerate([one, two] * 4)
        ]
        gevent.sleep(0.1)
        assert made.send(["a@customer.example"], message("other"), account=other).code == 250
        gevent.killall(hanging)


def test_logins_wait_for_no_campaign(api: Api) -> None:
    """However many there are; those with made-up credentials have one turn together."""
    api.seconds = 0.02
    with Submitting(api.url, SMTPGW_API_CONNECTIONS="4", SMTPGW_API_WAIT_SECONDS="20") as made:
        client: Cakemail = made.gateway.delivery.api
        calls = [
            gevent.spawn(client.submit_email, "campaign", b'{"email": "a@b.example"}', None, 20) for _ in range(300)
        ]
        gevent.sleep(0.01)
        api.answers["/accounts/self"] = lambda request: http({"detail": "no"}, 401)
        made_up = [gevent.spawn(client.own_account, f"made-up-{n}") for n in range(100)]
        gevent.sleep(0.01)
        before = len(api.asked)
        assert client.submit_email("other", b'{"email": "c@d.example"}', None, 20) == "uuid"
        assert len(api.asked) - before < 30
        gevent.killall([*calls, *made_up])


def test_the_notice_names_each_of_a_thousand_and_stays_small(api: Api) -> None:
    api.refused = frozenset(THOUSAND[1:])
    with Submitting(api.url) as made:
        assert made.send(THOUSAND, message("notice")).code == 250
    (body,) = api.bodies
    text = json.loads(body)["content"]["text"]
    assert all(f"  {recipient}: 550 5.1.3 no such mailbox" in text for recipient in THOUSAND[1:])
    assert len(body) < 1000 * (MAX_REASON_CHARACTERS + 100)
