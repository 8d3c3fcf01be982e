"""Each reply is shown somewhere: in a transcript, in a refusal of the corpus, or by its name in a test."""

import json
import re
from pathlib import Path

import pytest

from smtpgw.core import replies
from smtpgw.core.replies import LINE_BYTES, Reply, one_line

TESTS = Path(__file__).parent.parent.parent
REPLIES = {name: reply for name, reply in vars(replies).items() if isinstance(reply, Reply)}


def shown() -> str:
    """All that tests expect servers to say, a reply a line."""
    lines = [path.read_text() for path in (TESTS / "dialogues").glob("*.txt")]
    for path in (TESTS / "corpus").rglob("*.json"):
        refusal = json.loads(path.read_text()).get("refusal")
        if refusal:
            lines.append(f"S: {refusal['code']} {refusal['status']} {refusal['text']}")
    return "\n".join(lines)


SHOWN = shown()
NAMED = "\n".join(path.read_text() for path in TESTS.rglob("test_*.py") if path.name != "test_replies.py")


@pytest.mark.parametrize("name", REPLIES)
def test_a_reply_is_reachable(name: str) -> None:
    reply = REPLIES[name]
    status = f"{reply.status} " if reply.status else ""
    text = re.sub(r"\\\{\w+\\\}", ".*", re.escape(reply.text))
    beginning = re.escape(f"{reply.code} {status}")
    first = re.escape(re.split(r"\{\w+\}", reply.text)[0])  # a transcript may leave the rest out: "..."
    is_shown = re.search(rf"^S: {beginning}(?:{text}|{first}[\w-]+: \.\.\.$)", SHOWN, re.M)
    piece = max(re.split(r"\{\w+\}", reply.text), key=len).strip()
    is_named = re.search(rf"\b{name}\b", NAMED) or (len(piece) > 20 and piece in NAMED)
    assert is_shown or is_named, f"{reply.code} {status}{reply.text}"


def test_a_long_reply_has_its_codes_on_each_line() -> None:
    lines = Reply(550, "5.7.1", "x" * 1500).encode("abc").split(b"\r\n")
    assert lines.pop() == b""
    assert all(line.startswith(b"550-5.7.1 ") for line in lines[:-1])
    assert lines[-1].startswith(b"550 5.7.1 ")
    assert lines[-1].endswith(b" [abc]")
    assert all(len(line) + 2 <= LINE_BYTES for line in lines)


def test_greeting_and_intermediate_replies_have_no_enhanced_code() -> None:
    """RFC 2034 §3."""
    for reply in (replies.GREETING, replies.SEND_DATA, replies.CHALLENGE):
        assert reply.status == ""


def test_what_others_wrote_cannot_end_a_reply() -> None:
    words = one_line("refusé\r\n250 2.0.0 Ok\0\x1b[2J")
    assert words.isascii()
    assert words.isprintable()
    assert replies.REFUSED_BY_API.filled(words="a\r\n250 b").encode() == b"550 5.0.0 a 250 b\r\n"


def test_only_goodbye_and_421_hang_up() -> None:
    assert {reply.code for reply in REPLIES.values() if reply.closes} == {221, 421}


def test_only_errors_name_the_session() -> None:
    assert b"abc" not in replies.OK.encode("abc")
    assert b"[abc]" in replies.INTERNAL_ERROR.encode("abc")
