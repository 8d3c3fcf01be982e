"""What the API's calls take, and how strictly: the bodies, the form of /token and the query parameters.

Optional fields have an empty default ("", 0, ()) instead of None: the API takes a field that is absent, never null.
Fields that the API does not know are let through, as it does; `unknown_fields` finds them, since they are mistakes.
"""

from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

from email_validator import EmailNotValidError, validate_email
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator
from pydantic_core import PydanticCustomError

BASE64 = r"^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"
FILENAME = r"^[a-zA-Z0-9_-]+\.(csv|doc|docx|ics|jpeg|pdf|png|xls|xlsx)$"

Encoding = Literal[
    "utf-8", "armscii-8", "ascii", "big-5", "cp51932", "cp866", "cp936", "euc-cn", "euc-jp", "eucjp-win", "euc-kr",
    "euc-tw", "hz", "iso-2022-jp", "iso-2022-jp-ms", "iso-2022-kr", "iso-8859-1", "iso-8859-10", "iso-8859-13",
    "iso-8859-14", "iso-8859-15", "iso-8859-16", "iso-8859-2", "iso-8859-3", "iso-8859-4", "iso-8859-5", "iso-8859-6",
    "iso-8859-7", "iso-8859-8", "iso-8859-9", "jis", "koi8-r", "sjis", "sjis-win", "uhc", "windows-1251",
    "windows-1252",
]  # fmt: skip


def mail_address(text: str) -> str:
    """`text`, when it is an ASCII mail address (RFC 5321 §4.1.2) of a domain that could exist.

    Raises:
        PydanticCustomError: it is none.
    """
    try:
        if not text.isascii():
            raise EmailNotValidError("It has characters outside ASCII.")
        validate_email(text, check_deliverability=False, allow_smtputf8=False)
    except EmailNotValidError as problem:
        why = {"why": str(problem)}
        raise PydanticCustomError("value_error.email", "value is not a valid email address: {why}", why) from None
    return text


def header_text(text: str) -> str:
    # A line break would begin another header field (RFC 5322 §2.2): no mail system could send it as it is.
    if any(c in text for c in "\r\n\0"):
        raise PydanticCustomError("value_error.header", "a header must be on one line")
    return text


Text = Annotated[str, StringConstraints(min_length=1)]
Id = Annotated[int, Field(ge=1)]
Address = Annotated[str, AfterValidator(mail_address)]
Tag = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=r"^[a-zA-Z0-9_-]+$")]
HeaderText = Annotated[str, AfterValidator(header_text)]


class Body(BaseModel):
    """A JSON object of a request."""

    model_config = ConfigDict(strict=True, extra="allow", frozen=True)


class SenderAndName(Body):
    id: Text
    name: Text = ""


class Template(Body):
    id: int


class CustomAttribute(Body):
    name: Text
    value: str


class Content(Body):
    subject: Text
    type: Literal["marketing", "transactional"]
    html: Text = ""
    text: Text = ""
    template: Template = Template(id=0)
    encoding: Encoding = "utf-8"
    custom_attributes: list[CustomAttribute] = []
    markup: dict[str, Any] = {}


class Tracking(Body):
    opens: bool = True
    clicks_html: bool = True
    clicks_text: bool = True


class AdditionalHeader(Body):
    name: Annotated[HeaderText, StringConstraints(min_length=1)]
    value: HeaderText


class Attachment(Body):
    filename: Annotated[str, StringConstraints(pattern=FILENAME)]
    type: Literal["csv", "doc", "docx", "calendar", "jpeg", "pdf", "png", "xls", "xlsx"]
    content: Annotated[str, StringConstraints(pattern=BASE64)] = Field(repr=False)


class SubmitEmail(Body):
    """The body of POST /v2/emails."""

    email: Address = ""
    sender: SenderAndName
    content: Content
    list_id: Id = 0
    contact_id: Id = 0
    tags: Annotated[list[Tag], Field(max_length=255)] = []
    tracking: Tracking = Tracking()
    additional_headers: list[AdditionalHeader] = []
    attachment: list[Attachment] = []

    @field_validator("attachment", mode="before")
    @classmethod
    def one_or_many(cls, given: object) -> object:
        return [given] if isinstance(given, dict) else given


def unknown_fields(value: object, path: str = "") -> Iterator[str]:
    """The paths of the fields in a body that the API does not know and silently ignores."""
    if isinstance(value, Body):
        yield from (f"{path}{name}" for name in value.model_extra or ())
        for name in value.model_fields_set:
            yield from unknown_fields(getattr(value, name, None), f"{path}{name}.")
    elif isinstance(value, list):
        for place, item in enumerate(value):
            yield from unknown_fields(item, f"{path}{place}.")


class TokenForm(BaseModel):
    """The form of POST /token."""

    grant_type: Literal["password", "refresh_token"] = "password"
    username: Address = ""
    password: str = Field("", repr=False)
    refresh_token: str = Field("", repr=False)
    account_id: int | None = None
    scopes: Annotated[str, StringConstraints(pattern=r"^(user|admin|internal|auth)(,(user|admin|internal|auth))*$")] = (
        "user"
    )
    expiration_seconds: Annotated[int | None, Field(ge=600)] = None

    @model_validator(mode="after")
    def has_what_the_grant_needs(self) -> Self:
        needed = ("username", "password") if self.grant_type == "password" else ("refresh_token",)
        missing = [name for name in needed if name not in self.model_fields_set]
        if missing:
            names = {"names": " and ".join(missing)}
            raise PydanticCustomError("value_error.missing", "field required: {names}", names)
        return self


class TokenQuery(BaseModel):
    version: Literal["v1", "v2"] = "v2"


class AccountQuery(BaseModel):
    """The query of every call that may be made for a sub-account."""

    account_id: Annotated[int | None, Field(ge=1)] = None


class RenderQuery(AccountQuery):
    as_submitted: bool = False
    tracking: bool = False


class PageQuery(AccountQuery):
    page: Id = 1
    per_page: Id = 50
    with_count: bool = False


class SendersQuery(PageQuery):
    # A plus sign that was not percent-encoded arrives as a space.
    sort: Annotated[str, StringConstraints(pattern=r"^[-+ ]?(name|email|confirmed)$")] = ""


class ListsQuery(PageQuery):
    sort: Annotated[str, StringConstraints(pattern=r"^[-+ ]?(name|created_on)$")] = ""
    filter: Annotated[str, StringConstraints(pattern=r"^(status|name)==[^;]*(;(status|name)==[^;]*)*$")] = ""
