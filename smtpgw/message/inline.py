"""Embedding of images that the HTML refers to by Content-ID (RFC 2392) as `data:` URLs (RFC 2397).

The API has no related parts. Apple Mail and Thunderbird, among others, show images in `data:` URLs; Gmail and Outlook
do not.
"""

import re
from collections import Counter
from collections.abc import Collection, Mapping
from urllib.parse import unquote

from smtpgw.core.replies import UNSUPPORTED_PART, SMTPError
from smtpgw.message import growth, transfer
from smtpgw.message.parts import Part

REFERENCE = re.compile(r"(?<![\w.-])cid:([^\"'\s)<>]+)", re.IGNORECASE)
# The limit is the length of the message if that is larger. It exists because an image may be shown many times.
MAX_EMBEDDED_CHARACTERS = 8 * 1024 * 1024
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
    """Return the Content-ID of a part without its angle brackets."""
    return part.header("content-id").strip().removeprefix("<").removesuffix(">").strip()


def count_references(html: str, names: Collection[str]) -> Counter[str]:
    """Return how often the HTML refers to each Content-ID of `names`.

    Raises:
        SMTPError: UNSUPPORTED_PART if there are too many references, whether their images exist or not.
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
    """Return the type of an image, "" for other parts. The file name decides if the type is generic."""
    if part.type == "application/octet-stream":
        return TYPES_BY_EXTENSION.get(part.file_name.lower().rpartition(".")[2], "")
    return part.type if SAFE_TYPE.fullmatch(part.type) else ""


def embed(html: str, images: Mapping[str, Part], limit_bytes: int) -> str:
    """Return the HTML with each reference to an image replaced by a `data:` URL.

    Args:
        html: The HTML of the message.
        images: The parts with the images by their Content-IDs.
        limit_bytes: The memory that the result may take.

    Raises:
        SMTPError: UNSUPPORTED_PART or REQUEST_TOO_BIG if the HTML would become too big, BAD_STRUCTURE.
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
