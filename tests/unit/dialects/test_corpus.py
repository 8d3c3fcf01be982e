"""Tests of messages as applications send them through other relays, with the expected result of each.

`tests/corpus/dialects/` has a folder for each provider with pairs of files: an `.eml`, and a `.json` with the request
to the API for the first recipient, or with the `reply` if nothing is sent. The recipients are those of To. The
operator's maps are in `maps.yaml`.
"""

import json
from pathlib import Path

import pytest

from smtpgw.config.provider_map import ProviderMap
from smtpgw.core.replies import DISCARDED, SMTPError
from smtpgw.dialects import interpreter
from smtpgw.message import parser
from smtpgw.message.addresses import mailboxes
from smtpgw.submission import translation
from tests.support.control_headers import NOW

CORPUS = Path(__file__).parent.parent.parent / "corpus" / "dialects"
MESSAGES = sorted(CORPUS.glob("*/*.eml"))
MAPS = ProviderMap.load(str(CORPUS / "maps.yaml")).account(1)


def become(raw: bytes) -> dict:
    mail = parser.parse(raw, "embed")
    (to,) = (header.value for header in mail.headers if header.name == "To")
    recipients = [mailbox.address for mailbox in mailboxes(to)]
    try:
        options = interpreter.read(mail, recipients, MAPS, NOW)
    except SMTPError as refusal:
        return {"reply": str(refusal)}
    if options.discard:
        return {"reply": str(SMTPError(DISCARDED.filled(header=options.discard)))}
    request = translation.translate(mail, options, options.sender_id or "1", options.list_id, "transactional")
    return json.loads(request.body_for(recipients[0]))


@pytest.mark.parametrize("eml", MESSAGES, ids=lambda eml: f"{eml.parent.name}-{eml.stem}")
def test_message(eml):
    assert become(eml.read_bytes()) == json.loads(eml.with_suffix(".json").read_text("utf-8"))


def test_every_dialect_has_messages_and_every_message_a_dialect():
    assert {eml.parent.name for eml in MESSAGES} == {dialect.name for dialect in interpreter.DIALECTS}
    assert {path.with_suffix(".eml") for path in CORPUS.glob("*/*.json")} == set(MESSAGES)
