"""Tests that every message of the corpus yields the request or the rejection stored beside it."""

import difflib
import json
from typing import Any

import pytest

from smtpgw.config.provider_map import AccountMap
from smtpgw.core.replies import SMTPError
from smtpgw.dialects import interpreter
from smtpgw.message.parser import parse
from smtpgw.sandbox.models import SubmitEmail, unknown_fields
from smtpgw.submission.translation import translate
from tests.corpus import generate
from tests.corpus.case import SENDER_ID, Case, stored

CASES = list(stored())


def became(case: Case) -> dict[str, Any]:
    recipients = case.expected["envelope"]["to"]
    try:
        is_null = not case.expected["envelope"]["from"]
        message = parse(case.raw, case.expected.get("inline_images", "embed"), null_sender=is_null)
        options = interpreter.read(message, recipients, AccountMap())
        sender_id = options.sender_id or SENDER_ID
        request = translate(message, options, sender_id, options.list_id, "transactional")
    except SMTPError as refused:
        reply = refused.reply
        return {"refusal": {"code": reply.code, "status": reply.status, "text": reply.text}}
    return {"request": json.loads(request.body_for(recipients[0]))}


def difference(expected: dict[str, Any], got: dict[str, Any]) -> str:
    lines = [
        json.dumps(one, indent=2, ensure_ascii=False, sort_keys=True).splitlines(keepends=True)
        for one in (expected, got)
    ]
    return "".join(
        line if len(line) < 400 else f"{line[:400]}…\n" for line in difflib.unified_diff(*lines, "expected", "got")
    )


@pytest.mark.parametrize("case", CASES, ids=str)
def test_message_becomes_what_stands_beside_it(case: Case) -> None:
    expected = {name: case.expected[name] for name in ("request", "refusal") if name in case.expected}
    got = became(case)
    if got != expected:
        pytest.fail(f"{case}\n{difference(expected, got)}", pytrace=False)


@pytest.mark.parametrize("case", [case for case in CASES if "request" in case.expected], ids=str)
def test_expected_request_is_one_of_the_api(case: Case) -> None:
    body = SubmitEmail.model_validate_json(json.dumps(case.expected["request"]))
    assert list(unknown_fields(body)) == []


def test_each_case_says_one_thing() -> None:
    for case in CASES:
        assert ("request" in case.expected) != ("refusal" in case.expected), case


def test_made_cases_are_stored_as_made() -> None:
    """Run `python -m tests.corpus.generate` after a change to a maker."""
    made = list(generate.made())
    assert len({case.name for case in made}) == len(made)
    changed = [
        case.name
        for case in made
        if not case.eml.exists()
        or case.eml.read_bytes() != case.raw
        or case.json.read_text(encoding="utf-8") != case.expected_text()
    ]
    assert changed == []
    assert generate.stale() == []


def test_the_corpus_is_as_large_as_promised() -> None:
    assert len(CASES) >= 300
    assert len([case for case in CASES if case.name.startswith("clients/")]) >= 60
