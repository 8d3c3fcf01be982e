"""`python -m smtpgw explain MAIL.eml`: what a message would become, and the reply to it. Sends nothing, asks nobody."""

import argparse
import json
import os
import sys
from collections.abc import Iterator
from typing import Any

from smtpgw.cakemail.client import acting_for
from smtpgw.commands.console import BOLD, DIM, GREEN, RED, complain, say, shortened
from smtpgw.commands.explanation import Explanation, NoRecipient, explained
from smtpgw.config.parsers import SettingsError
from smtpgw.config.provider_map import ProviderMap, ProviderMapError
from smtpgw.config.settings import Settings

ACCEPTED, REFUSED, CANNOT_SAY = 0, 1, 2  # exit statuses
STYLES = {"refused": RED, "warned": BOLD, "test mode": BOLD, "stripped": DIM}  # of verdicts


def main(arguments: list[str]) -> int:
    """Explain a message.

    Returns:
        The exit status: 0 when it would be accepted, 1 when it would be refused, 2 when that cannot be found out.
    """
    options = parser().parse_args(arguments)
    try:
        settings = Settings.from_environ({**os.environ, "SMTPGW_TLS_CERT": os.devnull, "SMTPGW_TLS_KEY": os.devnull})
        mappings = ProviderMap.load(options.account_map or settings.mappings_file)
        mapping = mappings.account(options.account) if options.account else mappings.default
        sender = "" if options.sender == "<>" else options.sender
        told = explained(read(options.file), sender, options.recipients, mapping, settings)
    except (SettingsError, ProviderMapError) as problem:
        complain("\n".join(problem.mistakes))
        return CANNOT_SAY
    except OSError as problem:
        complain(f"{options.file}: {problem.strerror}")
        return CANNOT_SAY
    except NoRecipient:
        complain("There is no recipient: neither To, Cc nor Bcc names one. Give --to.")
        return CANNOT_SAY
    if options.json:
        for piece in as_json(told):
            sys.stdout.buffer.write(piece)
    else:
        show(told)
    return REFUSED if told.reply.is_error else ACCEPTED


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m smtpgw explain",
        description="Tells what a message would become: the requests to Cakemail's API, what is done with each header"
        " and why, and the reply that its client would get. Sends nothing, and needs no account; whether the sender is"
        " confirmed, `check` tells.",
        epilog="The exit status is 0 when the message would be accepted, 1 when it would be refused.",
    )
    made.add_argument("file", metavar="FILE", help="the message, as it would be sent; - is standard input")
    made.add_argument(
        "--from", dest="sender", metavar="ADDRESS", help="of MAIL FROM; by default that of From, or <> for a bounce"
    )
    made.add_argument(
        "--to",
        dest="recipients",
        metavar="ADDRESS",
        action="append",
        default=[],
        help="of RCPT TO, may be repeated; by default those of To, Cc and Bcc",
    )
    made.add_argument("--account-map", metavar="FILE", help="the operator's maps; by default SMTPGW_MAPPINGS_FILE")
    made.add_argument("--account", metavar="ID", type=int, help="whose maps; by default those of everybody")
    made.add_argument("--json", action="store_true", help="everything exact, for programs")
    return made


def read(file: str) -> bytes:
    """Raises OSError."""
    if file == "-":
        return sys.stdin.buffer.read()
    with open(file, "rb") as message:
        return message.read()


# --- For people -------------------------------------------------------------------------------------------------------


def show(told: Explanation) -> None:
    say("Envelope", BOLD)
    say(f"  from       {told.envelope.reverse_path or '<>'}")
    say(f"  to         {', '.join(told.envelope.recipients) or 'nobody yet'}")
    if headers := told.headers:
        say("\nHeaders", BOLD)
        width = min(max(len(found.header) for found in headers), 36)
        for found in headers:
            say(f"  {found.verdict:9}  {found.header:{width}}  {found.detail}".rstrip(), STYLES.get(found.verdict, ""))
    if notes := told.notes:
        say("\nChanged to fit the API", BOLD)
        for note in notes:
            say(f"  {note}")
    if decisions := told.decisions:
        say("\nDecided", BOLD)
        for what, decision in decisions.items():
            say(f"  {what:9}  {decision.value}  ({decision.why})")
    if told.is_sent:
        show_requests(told)
    reply = told.reply
    say("\nReply", BOLD)
    say(f"  {reply.code} {reply.status} {reply.text}", RED if reply.is_error else GREEN)


def show_requests(told: Explanation) -> None:
    """The first request; the others are alike but for the recipient."""
    _, *others = told.envelope.recipients
    say(f"\nThe API's request{'s' if others else ''}", BOLD)
    say(" ".join((*called(told), json.dumps(shortened(told.body), indent=2, ensure_ascii=False))))
    for recipient in others:
        say(f'and the same with "email": {json.dumps(recipient)}')


def called(told: Explanation) -> tuple[str, str]:
    """Method and path of the requests."""
    account = told.options.account_id if told.options else None
    query = "&".join(f"{name}={value}" for name, value in acting_for(account).items())
    return "POST", "/v2/emails" + (f"?{query}" if query else "")


# --- For programs -----------------------------------------------------------------------------------------------------


def as_json(told: Explanation) -> Iterator[bytes]:
    """One JSON object, in pieces: the bodies are those that would be sent, octet by octet, one at a time."""
    reply = told.reply
    found: dict[str, Any] = {
        "envelope": {"from": told.envelope.reverse_path, "to": told.envelope.recipients},
        "reply": {"code": reply.code, "status": reply.status, "text": reply.text},
        "headers": [header._asdict() for header in told.headers],
        "notes": told.notes,
        "decisions": {what: decision._asdict() for what, decision in told.decisions.items()},
    }
    yield json.dumps(found, ensure_ascii=False).encode().removesuffix(b"}") + b', "requests": ['
    if told.is_sent and told.request:
        method, path = called(told)
        for number, recipient in enumerate(told.envelope.recipients):
            yield b", " * bool(number) + json.dumps({"method": method, "path": path}).encode().removesuffix(b"}")
            yield b', "body": ' + told.request.body_for(recipient) + b"}"
    yield b"]}\n"
