"""The ledger: which messages are the same, which outcomes it keeps, for how long, and how many.

`test_partial_results.py` tests what clients see of it.
"""

import time
import tracemalloc
from uuid import uuid4

import gevent
import pytest
from gevent.event import Event

from smtpgw.core import replies
from smtpgw.core.outcomes import Outcome
from smtpgw.core.replies import SMTPError
from smtpgw.submission import ledger
from smtpgw.submission.ledger import Ledger, MessageKey, message_key
from smtpgw.telemetry import metrics


def accepted(recipient: str = "ann@example.com") -> Outcome:
    return Outcome(recipient, "uuid")


def once(remembered: Ledger, message: MessageKey, outcome: Outcome, seconds: float = 5) -> Outcome | str:
    """What is known of a recipient; "submitted" where nothing is."""
    submitted: list[str] = []

    def submit() -> Outcome:
        submitted.append(outcome.recipient)
        return outcome

    found = remembered.submit_once(message, outcome.recipient, submit, time.monotonic() + seconds)
    return "submitted" if submitted else found


def of(
    account: int = 1, message_id: str = "<a@b>", raw: bytes = b"raw", content: bytes = b"x", key: str = ""
) -> MessageKey:
    return message_key((account, None), message_id, raw, content, key)


def test_what_makes_two_submissions_the_same_message() -> None:
    assert of() == of()
    assert of() == of(raw=b"another Date")
    others = [of(2), of(message_id="<c@d>"), of(content=b"y"), of(message_id=""), of(key="k"), of().of_bounce()]
    assert len({of(), *others}) == 7
    assert message_key((1, 2), "<a@b>", b"", b"x") != message_key((1, None), "<a@b>", b"", b"x")
    assert of(message_id="") != of(message_id="", raw=b"another Date")
    assert of(message_id="<a@b>") != message_key((1, None), "", b"<a@b>", b"x")


def test_a_key_is_all_that_counts_where_there_is_one() -> None:
    assert of(key="k") == of(key="k", message_id="<c@d>", raw=b"another Date")
    assert of(key="k") != of(account=2, key="k")
    assert of(key="k").digest == of(key="k", content=b"y").digest != of(key="l").digest


def test_accepted_is_remembered_and_no_refusal_is() -> None:
    remembered = Ledger()
    for reply in (replies.API_FAILED, replies.REFUSED_BY_API):
        assert once(remembered, of(), Outcome("ann@example.com", reply=reply)) == "submitted"
    assert once(remembered, of(), accepted()) == "submitted"
    assert once(remembered, of(), accepted()) == accepted()
    assert once(remembered, of(), accepted("bob@example.com")) == "submitted"
    assert once(remembered, of(2), accepted()) == "submitted"
    remembered.forget(of(), [accepted()])
    assert once(remembered, of(), accepted()) == "submitted"
    assert once(remembered, of(), accepted("bob@example.com")) == accepted("bob@example.com")
    assert not remembered.running


def test_a_late_confirmation_forgets_its_own_submission_and_no_later_one() -> None:
    """The client of the second may not have heard, though that of the first has."""
    remembered = Ledger()
    first, second = Outcome("ann@example.com", "one"), Outcome("ann@example.com", "two")
    once(remembered, of(), first)
    remembered.forget(of(), [first])
    once(remembered, of(), second)
    remembered.forget(of(), [first])
    assert once(remembered, of(), accepted()) == second


def test_it_lives_for_an_hour() -> None:
    now = [0.0]
    remembered = Ledger(lambda: now[0])
    once(remembered, of(), accepted())
    for now[0] in (1800, 3599):
        assert once(remembered, of(), accepted()) == accepted()
    now[0] = 3601
    assert once(remembered, of(), accepted()) == "submitted", "one that nobody confirms is no reason to send none again"


UNKNOWN = Outcome("ann@example.com", reply=replies.OUTCOME_UNKNOWN, is_unknown=True)
STILL = Outcome("ann@example.com", reply=replies.STILL_UNKNOWN, is_unknown=True)


@pytest.mark.parametrize("key", ["", "k"])
def test_an_unknown_outcome_is_remembered_for_an_hour_from_the_submission(key: str) -> None:
    now = [0.0]
    remembered = Ledger(lambda: now[0])
    assert once(remembered, of(key=key), UNKNOWN) == "submitted"
    for now[0] in (0, 1800, 3599):
        assert once(remembered, of(key=key), accepted()) == STILL
        remembered.forget(of(key=key), [STILL])  # nobody has heard that it is accepted
    now[0] = 3601
    assert once(remembered, of(key=key), accepted()) == "submitted"
    assert once(remembered, of(key=key), accepted()) == accepted()


@pytest.mark.parametrize("interval", [300, 1799, 3601, 7100])
def test_the_accepted_recipients_of_a_message_outlive_the_unknown_ones(interval: int) -> None:
    """However often its client comes again; one whose call is never answered is unknown hour after hour."""
    now = [0.0]
    remembered = Ledger(lambda: now[0])
    bob = Outcome("bob@example.com", reply=replies.OUTCOME_UNKNOWN, is_unknown=True)
    submitted = 0
    for now[0] in range(0, 10 * 3600, interval):
        found = [once(remembered, of(), accepted()), once(remembered, of(), bob)]
        submitted += found[1] == "submitted"
        assert found[0] == (accepted() if now[0] else "submitted")
        remembered.await_retry(of(), [accepted(), bob])
    assert 5 <= submitted <= 10


def test_another_message_is_not_unknown() -> None:
    remembered = Ledger()
    once(remembered, of(key="k"), UNKNOWN)
    once(remembered, of(), UNKNOWN)
    for other in (of(2), of(message_id="<c@d>"), of(content=b"y"), of(key="l")):
        assert once(remembered, other, accepted()) == "submitted"
    with pytest.raises(SMTPError) as refusal:
        once(remembered, of(key="k", content=b"y"), accepted())
    assert refusal.value.reply == replies.KEY_REUSED


def test_a_notice_is_better_doubled_than_lost() -> None:
    remembered = Ledger()
    once(remembered, of().of_bounce(), UNKNOWN)
    assert once(remembered, of().of_bounce(), accepted()) == "submitted"


def test_it_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "MAX_RECIPIENTS", 100)
    monkeypatch.setattr(ledger, "MAX_UNKNOWN", 50)
    forgotten = metrics.LIMITS.labels("remembered")._value.get()
    remembered = Ledger()
    for n in range(1000):
        once(remembered, of(message_id=f"<{n}@b>"), accepted())
    assert len(remembered.kept) == 100
    assert metrics.LIMITS.labels("remembered")._value.get() - forgotten == 900
    assert once(remembered, of(message_id="<999@b>"), accepted()) == accepted()
    for n in range(1000, 2000):
        once(remembered, of(message_id=f"<{n}@b>"), UNKNOWN)
    assert len(remembered.unknown) == 50
    assert once(remembered, of(message_id="<1999@b>"), accepted()) == STILL
    assert once(remembered, of(message_id="<999@b>"), accepted()) == accepted(), "an API that hangs pushes out no other"
    assert once(remembered, of(message_id="<0@b>"), accepted()) == "submitted"


def test_a_recipient_costs_it_less_than_a_kilobyte() -> None:
    remembered = Ledger()
    tracemalloc.start()
    try:
        for n in range(5000):
            once(remembered, of(message_id=f"<{n}@b>"), Outcome(f"recipient-number-{n}@customer.example", str(uuid4())))
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size / 5000 < 1000


def test_the_second_gets_the_firsts_outcome_whatever_it_is() -> None:
    for outcome in (accepted(), Outcome("ann@example.com", reply=replies.API_FAILED)):
        remembered = Ledger()
        go_on = Event()

        def slow(outcome: Outcome = outcome, go_on: Event = go_on) -> Outcome:
            go_on.wait()
            return outcome

        first = gevent.spawn(remembered.submit_once, of(), "ann@example.com", slow, time.monotonic() + 5)
        gevent.sleep(0)
        second = gevent.spawn(once, remembered, of(), Outcome("ann@example.com", "another"))
        assert once(remembered, of(), accepted("bob@example.com")) == "submitted", "nobody waits for another recipient"
        with pytest.raises(SMTPError) as refusal:
            once(remembered, of(), accepted(), seconds=0.05)
        assert refusal.value.reply == replies.API_BUSY
        go_on.set()
        assert first.get(5) == second.get(5) == outcome
        assert not remembered.running


def test_one_that_is_killed_or_has_a_bug_leaves_nobody_waiting() -> None:
    remembered = Ledger()
    killed = gevent.spawn(
        remembered.submit_once, of(), "ann@example.com", lambda: gevent.sleep(30), time.monotonic() + 5
    )
    gevent.sleep(0)
    second = gevent.spawn(once, remembered, of(), accepted())
    gevent.sleep(0)
    killed.kill()
    assert second.get(5) == UNKNOWN
    assert once(remembered, of(), accepted()) == STILL, "its call may have been sent"
    with pytest.raises(KeyError):
        remembered.submit_once(of(), "bob@example.com", lambda: {}["a bug"], time.monotonic() + 5)
    assert once(remembered, of(), accepted("bob@example.com")) == "submitted"
    assert not remembered.running


def test_a_key_is_good_for_one_content_and_for_the_whole_time() -> None:
    remembered = Ledger()
    once(remembered, of(key="k"), accepted())
    remembered.forget(of(key="k"), [accepted()])
    assert once(remembered, of(key="k"), accepted()) == accepted()
    with pytest.raises(SMTPError) as refusal:
        once(remembered, of(key="k", content=b"y"), accepted())
    assert refusal.value.reply == replies.KEY_REUSED
    assert once(remembered, of(key="k", content=b"y"), accepted("bob@example.com")) == "submitted"
