"""`python -m tests.support.peak_memory NAME SIZE`: make the requests of a message of `growth`; print what that took.

Octets of the message; octets that the process held at its most, above what it held before; and what became of it. In a
process of its own, and with Linux's own high-water mark: that of getrusage begins with the parent's.
"""

import sys
from pathlib import Path

from smtpgw.config.provider_map import ProviderMap
from smtpgw.core.replies import SMTPError
from smtpgw.dialects import interpreter
from smtpgw.message import parser
from smtpgw.submission import translation
from tests.support.growth import MESSAGES


def status(name: str) -> int:
    """A line of /proc/self/status, in octets."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines[name].split()[0]) * 1024


def main(name: str, size: int) -> None:
    raw = MESSAGES[name](size)
    Path("/proc/self/clear_refs").write_text("5")  # forget the high-water mark
    before = status("VmRSS")
    limit = 2 * size
    said = "accepted"
    try:
        mail = parser.parse(raw, "embed", limit_bytes=limit)
        options = interpreter.read(mail, ["ann@customer.example"], ProviderMap.EMPTY.account(1))
        request = translation.translate(mail, options, "s", 1, "transactional", frozenset(), limit)
        del mail
        request.body_for("ann@customer.example")
    except SMTPError as refusal:
        said = refusal.reply.name
    print(len(raw), status("VmHWM") - before, said)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
