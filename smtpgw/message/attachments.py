"""Conversion of parts to attachments that the API accepts: nine types, ASCII file names, clean base64."""

import re
import unicodedata
from dataclasses import dataclass

from smtpgw.core.replies import UNSUPPORTED_ATTACHMENT, UNSUPPORTED_PART, SMTPError
from smtpgw.message import transfer
from smtpgw.message.parts import Part

# File name extension → type of the API.
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
# Types that are rejected, and their descriptions for the reply. The API has no attachments of these types, and a
# multipart would lose its meaning.
UNSUPPORTED_TYPES = {
    "application/ms-tnef": "Outlook's winmail.dat (application/ms-tnef)",
    "application/pkcs7-mime": "An S/MIME message (application/pkcs7-mime)",
    "application/vnd.ms-tnef": "Outlook's winmail.dat (application/ms-tnef)",
    "application/x-pkcs7-mime": "An S/MIME message (application/pkcs7-mime)",
    "multipart/encrypted": "An encrypted message (multipart/encrypted)",
    "multipart/mailgun-variables": "A part with Mailgun's variables (multipart/mailgun-variables)",
    "multipart/report": "A delivery report (multipart/report)",
    "multipart/signed": "A signed message (multipart/signed)",
}
# Letters whose ASCII form is a convention of their language, not a decomposition of Unicode.
TRANSLITERATIONS = str.maketrans(
    {
        "ä": "ae", "ö": "oe", "ü": "ue", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue", "ß": "ss", "ẞ": "SS",
        "æ": "ae", "Æ": "Ae", "œ": "oe", "Œ": "Oe", "ø": "oe", "Ø": "Oe", "þ": "th", "Þ": "Th", "ð": "d", "Ð": "D",
        "đ": "d", "Đ": "D", "ł": "l", "Ł": "L", "ħ": "h", "Ħ": "H", "ŧ": "t", "Ŧ": "T", "ŋ": "ng", "Ŋ": "Ng",
        "ı": "i", "ĸ": "k", "ə": "e", "Ə": "E", "ƒ": "f",
    }
)  # fmt: skip
OTHER_CHARACTERS = re.compile(r"[^A-Za-z0-9_-]+")
# Only the beginning of a long file name is read.
MAX_READ_CHARACTERS = 1000
# File systems allow 255 octets with the extension.
MAX_NAME_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Attachment:
    """An attachment with the three fields of the API."""

    filename: str
    type: str
    # Base64 with padding and without line breaks.
    content: str


def make_attachment(part: Part, taken: dict[str, int]) -> Attachment:
    """Return the attachment for a part.

    Args:
        part: The part with the file.
        taken: How often each file name, in lower case, was requested in this message. The new name is added.

    Raises:
        SMTPError: UNSUPPORTED_ATTACHMENT, UNSUPPORTED_PART, BAD_STRUCTURE.
    """
    if what := describe_unsupported(part):
        raise SMTPError(UNSUPPORTED_PART.filled(what=what))
    base, ending = choose_name(part)
    # The octets stay unchanged, even of text in another charset, because the recipient may compare their digest.
    octets = transfer.encode_base64(part.body, part.encoding)
    return Attachment(make_unique(base, ending, taken), TYPES[ending], octets)


def describe_unsupported(part: Part) -> str:
    """Return the description of a file that is rejected because of its type, "" for other files."""
    if part.type in UNSUPPORTED_TYPES:
        return UNSUPPORTED_TYPES[part.type]
    if part.type.startswith("message/"):
        return f"An attached message ({part.type})"
    return UNSUPPORTED_TYPES["application/ms-tnef"] if part.file_name.lower() == "winmail.dat" else ""


def choose_name(part: Part) -> tuple[str, str]:
    """Return the base and the extension of the file name. The type decides if the API does not know the extension."""
    # RFC 2183 §2.3: the path in a file name must be ignored.
    name = re.split(r"[/\\]", part.file_name)[-1]
    base, ending = name.rpartition(".")[0], extension(name)
    if ending not in TYPES:
        base, ending = name, EXTENSIONS.get(part.type, "")
    if not ending:
        described = part.file_name or f"without a name ({part.type})"
        raise SMTPError(UNSUPPORTED_ATTACHMENT.filled(name=described[:200]))
    return make_ascii(base) or ("invite" if ending == "ics" else "attachment"), ending


def extension(name: str) -> str:
    """Return the extension of a file name in the spelling of the API, "" if there is none."""
    _, dot, ending = name.lower().rpartition(".")
    return SPELLINGS.get(ending, ending) if dot else ""


def make_ascii(base: str) -> str:
    """Return a name in the characters that the API accepts, "" if none is left."""
    # The name is composed first, because macOS writes an umlaut as two characters.
    known = unicodedata.normalize("NFC", base[:MAX_READ_CHARACTERS]).translate(TRANSLITERATIONS)
    letters = "".join(c for c in unicodedata.normalize("NFKD", known) if not unicodedata.combining(c))
    name = OTHER_CHARACTERS.sub("_", letters)[:MAX_NAME_CHARACTERS]
    return name if name.strip("_-") or name == base else ""


def make_unique(base: str, ending: str, taken: dict[str, int]) -> str:
    """Return a file name that no other attachment has, and add it to `taken`."""
    name = f"{base}.{ending}"
    first = name.lower()
    while name.lower() in taken:
        taken[first] += 1
        name = f"{base}-{taken[first]}.{ending}"
    taken[name.lower()] = 1
    return name
