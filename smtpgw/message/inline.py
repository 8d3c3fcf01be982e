"""Images that HTML shows from other parts of the message, put into the HTML itself (RFC 2392, RFC 2397).

The API has no parts beside the HTML. A `data:` address keeps the image with it, and is shown by Apple Mail,
Thunderbird and others; not by Gmail and Outlook.
"""

import re
from collections import Counter
from collections.abc import Collection, Mapping
from urllib.parse import unquote

from smtpgw.core.replies import UNSUPPORTED_PART, SMTPError
from smtpgw.message import growth, transfer
from smtpgw.message.parts import Part

REFERENCE = re.compile(r"(?<![\w.-])cid:([^\"'\s)<>]+)", re.IGNORECASE)
MAX_EMBEDDED_CHARACTERS = 8 * 1024 * 1024  # or as much as the message is long: an image may be shown a thousand times
TYPES_BY_EXTENSION = {
    "bmp": "image/bmp",
    "gif": "image/gif",
    "jpeg": "image/jpeg",
    "jpg": "image/jpeg",
    "png": "image/png",
    "svg": "image/svg+xml",
    "webp": "image/webp",
}
MAX_REFERENCES = 10_000
SAFE_TYPE = re.compile(r"image/[a-z0-9.+-]{1,60}")


def content_id(part: Part) -> str:
    return part.header("content-id").strip().removeprefix("<").removesuffix(">").strip()


def count_references(html: str, names: Collection[str]) -> Counter[str]:
    """Return how often the HTML refers to each Content-ID that there is.

    Raises:
        SMTPError: UNSUPPORTED_PART for too many references, to whatever.
    """
    found = Counter[str]()
    for number, reference in enumerate(REFERENCE.finditer(html)):
        if number == MAX_REFERENCES:
            raise SMTPError(UNSUPPORTED_PART.filled(what=f"HTML with more than {MAX_REFERENCES} references to images"))
        name = unquote(reference[1])  # RFC 2392 §2
        if name in names:
            found[name] += 1
    return found


def image_type(part: Part) -> str:
    """The type of an image that can be shown, "" for other parts; by its name where the client gives no type."""
    if part.type == "application/octet-stream":
        return TYPES_BY_EXTENSION.get(part.file_name.lower().rpartition(".")[2], "")
    return part.type if SAFE_TYPE.fullmatch(part.type) else ""


def embed(html: str, images: Mapping[str, Part], limit_bytes: int) -> str:
    """`html` with each image, given by its Content-ID, in the place that refers to it.

    Raises:
        SMTPError: UNSUPPORTED_PART or REQUEST_TOO_BIG when the HTML would become too big, BAD_STRUCTURE.
    """
    addresses = {
        name: f"data:{image_type(part)};base64,{transfer.encode_base64(part.body, part.encoding)}"
        for name, part in images.items()
    }
    size = sum(count * len(addresses[name]) for name, count in count_references(html, addresses).items())
    longest = max(MAX_EMBEDDED_CHARACTERS, *(len(part.raw) for part in images.values()))
    if size > longest:
        raise SMTPError(UNSUPPORTED_PART.filled(what=f"HTML that shows inline images of {size} characters in all"))
    growth.check(growth.memory_bytes([html], size), limit_bytes)
    return REFERENCE.sub(lambda found: addresses.get(unquote(found[1]), found[0]), html)
