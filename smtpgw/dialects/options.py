"""What the control headers of a message ask for: the options of its submission, and a finding for each header."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from smtpgw.message.parser import Header


class Verdict(StrEnum):
    """What becomes of a control header."""

    MAP = "map"  # translated into the field of the API that means the same
    STRIP = "strip"  # no equivalent, and losing it misleads nobody: removed
    STRIP_WARN = "strip_warn"  # removed, but the customer loses something they may rely on
    REFUSE = "refuse"  # sending without it would be wrong: nothing is sent to anyone
    DISCARD = "discard"  # test mode: accepted, and sent to nobody


@dataclass(frozen=True, slots=True)
class Finding:
    """What was decided about one control header: for the log, the counter and `explain`."""

    dialect: str  # the name of a dialect: a fixed set, fit for the label of a metric
    header: str  # "X-Mailgun-Tag", or a header and the path of a JSON key: "X-SMTPAPI filters.opentrack.settings"
    verdict: Verdict
    detail: str


@dataclass(frozen=True, slots=True)
class Options:
    """What the control headers of a message decide about its submission; None or empty where they decide nothing."""

    sender_id: str | None = None
    list_id: int | None = None
    account_id: int | None = None  # a sub-account to act for
    template_id: int | None = None  # of Cakemail, never of another provider
    type: str | None = None  # "marketing" or "transactional"
    tags: tuple[str, ...] = ()  # as the API wants them: [a-zA-Z0-9-_]{1,255}, at most 255
    tracking: Mapping[str, bool] = field(default_factory=dict)  # of opens, clicks_html, clicks_text the decided ones
    extra_headers: tuple["Header", ...] = ()  # metadata as X-Metadata-<key>, where the account opted in
    metadata: Mapping[str, str] = field(default_factory=dict)  # for the gateway's own log
    consumed: frozenset[str] = frozenset()  # lower-case names of the headers that must not be delivered
    discard: str = ""  # what asked for test mode; answered with replies.DISCARDED after every other check
    idempotency_key: str = ""  # scoped to the account
    findings: tuple[Finding, ...] = ()
