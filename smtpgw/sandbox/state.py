"""Everything the sandbox remembers. In memory only: it ends with the process."""

from smtpgw.sandbox.accounts import ACCOUNTS, Directory
from smtpgw.sandbox.calls import Calls
from smtpgw.sandbox.clock import Clock
from smtpgw.sandbox.emails import Emails
from smtpgw.sandbox.faults import Faults
from smtpgw.sandbox.ledger import Ledger
from smtpgw.sandbox.tokens import Tokens


class State:
    """`latency_ms` is how long every call of the API takes at least."""

    def __init__(self, latency_ms: int = 0) -> None:
        self.latency_ms = latency_ms
        self.reset()

    def reset(self) -> None:
        """As when it started."""
        self.tokens = Tokens(ACCOUNTS)
        self.clear()

    def clear(self) -> None:
        """As when it started, but whoever is logged in stays so."""
        self.tokens.restore()
        self.directory = Directory(ACCOUNTS)
        self.emails = Emails()
        self.ledger = Ledger()
        self.faults = Faults()
        self.calls = Calls()
        self.clock = Clock()
