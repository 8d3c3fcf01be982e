"""Attachments as the API takes them: nine types, names of plain letters, clean base64."""

import re
import unicodedata
from dataclasses import dataclass

from smtpgw.core.replies import UNSUPPORTED_ATTACHMENT, UNSUPPORTED_PART, SMTPError
from smtpgw.message import transfer
from smtpgw.message.parts import Part

# The extension of a name → the API's type.
TYPES = {
    "csv": "csv",
    "doc": "doc",
    "docx": "docx",
    "ics": "calendar",
    "jpeg": "jpeg",
    "pdf": "pdf",
    "png": "png",
    "xls": "xls",
    "xlsx": "xlsx",
}
SPELLINGS = {"jpg": "jpeg", "jpe": "jpeg", "jfif": "jpeg"}
EXTENSIONS = {
    "application/csv": "csv",
    "application/ics": "ics",
    "application/msword": "doc",
    "application/pdf": "pdf",
    "application/vnd.ms-excel": "xls",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/x-pdf": "pdf",
    "image/jpeg": "jpeg",
    "image/jpg": "jpeg",
    "image/pjpeg": "jpeg",
    "image/png": "png",
    "image/x-png": "png",
    "text/calendar": "ics",
    "text/comma-separated-values": "csv",
    "text/csv": "csv",
}
# Types that are refused by their own name: what they are says more than what their file is called.
CANNOT_BE_CARRIED = {
    "application/ms-tnef": "Outlook's winmail.dat (application/ms-tnef)",
    "application/vnd.ms-tnef": "Outlook's winmail.dat (application/ms-tnef)",
    "application/pkcs7-mime": "An S/MIME message (application/pkcs7-mime)",
    "application/x-pkcs7-mime": "An S/MIME message (application/pkcs7-mime)",
}
# Letters whose plain form is a convention of their languages and no decomposition of Unicode.
TRANSLITERATIONS = str.maketrans(
    {
        "ä": "ae", "ö": "oe", "ü": "ue", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue", "ß": "ss", "ẞ": "SS",
        "æ": "ae", "Æ": "Ae", "œ": "oe", "Œ": "Oe", "ø": "oe", "Ø": "Oe", "þ": "th", "Þ": "Th", "ð": "d", "Ð": "D",
        "đ": "d", "Đ": "D", "ł": "l", "Ł": "L", "ħ": "h", "Ħ": "H", "ŧ": "t", "Ŧ": "T", "ŋ": "ng", "Ŋ": "Ng",
        "ı": "i", "ĸ": "k", "ə": "e", "Ə": "E", "ƒ": "f",
    }
)  # fmt: skip
OTHER_CHARACTERS = re.compile(r"[^A-Za-z0-9_-]+")
MAX_READ_CHARACTERS = 1000  # of a name that are looked at
MAX_NAME_CHARACTERS = 200  # file systems allow 255 with the extension


@dataclass(frozen=True, slots=True)
class Attachment:
    """The three fields of the API."""

    filename: str
    type: str
    content: str  # base64, padded, without line breaks


def make_attachment(part: Part, taken: dict[str, int]) -> Attachment:
    """The attachment a part becomes. `taken` counts those that wanted a name, in lower case; this one is added.

    Raises:
        SMTPError: UNSUPPORTED_ATTACHMENT, UNSUPPORTED_PART, BAD_STRUCTURE.
    """
    if what := CANNOT_BE_CARRIED.get(part.type) or describe_unsupported(part):
        raise SMTPError(UNSUPPORTED_PART.filled(what=what))
    base, ending = choose_name(part)
    # Its octets as they are: text in a charset of its own too, since a digest of them may be known elsewhere.
    octets = transfer.encode_base64(part.body, part.encoding)
    return Attachment(make_unique(base, ending, taken), TYPES[ending], octets)


def describe_unsupported(part: Part) -> str:
    if part.type.startswith("message/"):
        return f"An attached message ({part.type})"
    return CANNOT_BE_CARRIED["application/ms-tnef"] if part.file_name.lower() == "winmail.dat" else ""


def choose_name(part: Part) -> tuple[str, str]:
    """What the file will be called. The extension decides; where it is none of the API's, the content type does."""
    name = re.split(r"[/\\]", part.file_name)[-1]  # RFC 2183 §2.3: never a path
    base, ending = name.rpartition(".")[0], extension(name)
    if ending not in TYPES:
        base, ending = name, EXTENSIONS.get(part.type, "")
    if not ending:
        described = part.file_name or f"without a name ({part.type})"
        raise SMTPError(UNSUPPORTED_ATTACHMENT.filled(name=described[:200]))
    return make_ascii(base) or ("invite" if ending == "ics" else "attachment"), ending


def extension(name: str) -> str:
    """The extension of a file name as the API spells it, "" where there is none."""
    _, dot, ending = name.lower().rpartition(".")
    return SPELLINGS.get(ending, ending) if dot else ""


def make_ascii(base: str) -> str:
    """A name in the API's characters; "" where nothing is left of it."""
    # Composed first: macOS writes the umlaut as two characters.
    known = unicodedata.normalize("NFC", base[:MAX_READ_CHARACTERS]).translate(TRANSLITERATIONS)
    letters = "".join(c for c in unicodedata.normalize("NFKD", known) if not unicodedata.combining(c))
    name = OTHER_CHARACTERS.sub("_", letters)[:MAX_NAME_CHARACTERS]
    return name if name.strip("_-") or name == base else ""


def make_unique(base: str, ending: str, taken: dict[str, int]) -> str:
    name = f"{base}.{ending}"
    first = name.lower()
    while name.lower() in taken:
        taken[first] += 1
        name = f"{base}-{taken[first]}.{ending}"
    taken[name.lower()] = 1
    return name
