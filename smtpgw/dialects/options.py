"""Result of the interpreter: the options of a submission, and a finding for each control header."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from smtpgw.message.parser import Header


class Verdict(StrEnum):
    """The treatment of a control header."""

    # Mapped to the field of the API with the same meaning.
    MAP = "map"
    # Removed. There is no equivalent, and the message is correct without it.
    STRIP = "strip"
    # Removed, but the customer loses a feature that they may rely on.
    STRIP_WARN = "strip_warn"
    # The message is rejected, because it would be wrong without the header.
    REFUSE = "refuse"
    # Test mode: the message is accepted and not sent.
    DISCARD = "discard"


@dataclass(frozen=True, slots=True)
class Finding:
    """The decision about one control header, for the log, the counter and `explain`."""

    # The name of a dialect. The names are a fixed set, so they can be a metric label.
    dialect: str
    # "X-Mailgun-Tag", or a header and the path of a JSON key: "X-SMTPAPI filters.opentrack.settings".
    header: str
    verdict: Verdict
    detail: str


@dataclass(frozen=True, slots=True)
class Options:
    """The decisions of the control headers about a submission. None or empty fields are undecided."""

    sender_id: str | None = None
    list_id: int | None = None
    # The sub-account to act for.
    account_id: int | None = None
    # A template of Cakemail, never of another provider.
    template_id: int | None = None
    # "marketing" or "transactional".
    type: str | None = None
    # Tags in the form of the API: at most 255, each [a-zA-Z0-9-_]{1,255}.
    tags: tuple[str, ...] = ()
    # The decided ones of opens, clicks_html and clicks_text.
    tracking: Mapping[str, bool] = field(default_factory=dict)
    # Metadata as X-Metadata-<key>, if the account opted in.
    extra_headers: tuple["Header", ...] = ()
    # Metadata for the gateway's own log.
    metadata: Mapping[str, str] = field(default_factory=dict)
    # Lower-case names of the headers that must not be delivered.
    consumed: frozenset[str] = frozenset()
    # The header that asks for test mode. The reply is replies.DISCARDED, after every other check.
    discard: str = ""
    # The key applies to the account only.
    idempotency_key: str = ""
    findings: tuple[Finding, ...] = ()
