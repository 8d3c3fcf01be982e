"""Who has an account at the sandbox: the accounts, senders and lists it starts with, as constants for tests too."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Sender:
    """An address an account sends from. Only a confirmed one is accepted."""

    id: str
    name: str
    email: str
    confirmed: bool = True


@dataclass(frozen=True, slots=True)
class MailingList:
    """A list of contacts. Only an active one is accepted."""

    id: int
    name: str
    status: str  # "active" or "archived"
    created_on: int  # seconds since 1970
    sender: Sender


@dataclass(frozen=True, slots=True)
class Account:
    """An account of the API. One without `email` has no login of its own: others act for it."""

    id: int
    name: str
    email: str = ""
    password: str = field(default="", repr=False)
    access_token: str = field(default="", repr=False)  # long-lived, as the dashboard issues them
    multi_factor: bool = False
    list_required: bool = False  # most accounts may not submit an email without list_id
    may_act_for: tuple[int, ...] = ()
    senders: tuple[Sender, ...] = ()
    lists: tuple[MailingList, ...] = ()


SENDER = Sender("sender-1001", "Demo Sender", "sender@cakemail.example")
UNCONFIRMED_SENDER = Sender("sender-1002", "Unconfirmed Sender", "unconfirmed@cakemail.example", confirmed=False)
# Fifty others stand between, so that it is on the second page of GET /brands/default/senders.
SECOND_PAGE_SENDER = Sender("sender-1053", "Second Page Sender", "second-page@cakemail.example")
SUB_ACCOUNT_SENDER = Sender("sender-1101", "Branch Sender", "branch@cakemail.example")
MULTI_FACTOR_SENDER = Sender("sender-1201", "Careful Sender", "careful@cakemail.example")
OTHER_SENDER = Sender("sender-2001", "Other Sender", "other-sender@cakemail.example")

# The archived one is older: whoever takes the first list without asking for an active one is refused.
ARCHIVED_LIST = MailingList(5001, "Customers before 2020", "archived", 1_546_300_800, SENDER)
ACTIVE_LIST = MailingList(5002, "Customers", "active", 1_577_836_800, SENDER)
SUB_ACCOUNT_LIST = MailingList(5101, "Branch customers", "active", 1_609_459_200, SUB_ACCOUNT_SENDER)
MULTI_FACTOR_LIST = MailingList(5201, "Members", "active", 1_609_459_200, MULTI_FACTOR_SENDER)

SUB_ACCOUNT = Account(
    id=1100,
    name="Demo Company, Branch",
    list_required=True,
    senders=(SUB_ACCOUNT_SENDER,),
    lists=(SUB_ACCOUNT_LIST,),
)
DEMO = Account(
    id=1000,
    name="Demo Company",
    email="demo@cakemail.example",
    password="demo-password",  # noqa: S106 - the sandbox's own, printed when it starts
    access_token="demo-access-token",  # noqa: S106
    list_required=True,
    may_act_for=(SUB_ACCOUNT.id,),
    senders=(
        SENDER,
        UNCONFIRMED_SENDER,
        *(Sender(f"sender-{1002 + n}", f"Shop {n}", f"shop-{n}@cakemail.example") for n in range(1, 51)),
        SECOND_PAGE_SENDER,
    ),
    lists=(ARCHIVED_LIST, ACTIVE_LIST),
)
MULTI_FACTOR = Account(
    id=1200,
    name="Careful Company",
    email="mfa@cakemail.example",
    password="mfa-password",  # noqa: S106
    access_token="mfa-access-token",  # noqa: S106
    multi_factor=True,
    list_required=True,
    senders=(MULTI_FACTOR_SENDER,),
    lists=(MULTI_FACTOR_LIST,),
)
# Has no list and needs none.
OTHER = Account(
    id=2000,
    name="Other Company",
    email="other@cakemail.example",
    password="other-password",  # noqa: S106
    access_token="other-access-token",  # noqa: S106
    senders=(OTHER_SENDER,),
)
ACCOUNTS = (DEMO, SUB_ACCOUNT, MULTI_FACTOR, OTHER)


class Directory:
    """The accounts as they are now: tests may add senders."""

    def __init__(self, accounts: tuple[Account, ...] = ACCOUNTS) -> None:
        self.accounts = {account.id: account for account in accounts}
        self._senders = {account.id: {sender.id: sender for sender in account.senders} for account in accounts}
        self._logins = {account.email: account for account in accounts if account.email}
        self._added = 0

    def login(self, email: str, password: str) -> Account | None:
        account = self._logins.get(email.casefold())
        return account if account and account.password == password else None

    def senders(self, account_id: int) -> list[Sender]:
        return list(self._senders[account_id].values())

    def sender(self, account_id: int, sender_id: str) -> Sender | None:
        return self._senders[account_id].get(sender_id)

    def put_sender(self, account_id: int, email: str, name: str, *, confirmed: bool) -> Sender:
        """Add a sender; where the account has one with this address, change it.

        Raises:
            KeyError: no such account.
        """
        senders = self._senders[account_id]
        known = next((s for s in senders.values() if s.email.casefold() == email.casefold()), None)
        self._added += 1
        sender = Sender(known.id if known else f"sender-added-{self._added}", name, email, confirmed)
        senders[sender.id] = sender
        return sender
