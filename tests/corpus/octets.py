"""Messages put together octet by octet, so that each says exactly what its case is about."""

from tests.corpus.case import FROM, TO

Octets = str | bytes


def octets(text: Octets) -> bytes:
    return text if isinstance(text, bytes) else text.encode()


def mail(body: Octets, *fields: Octets, subject: Octets | None = "Test", author: Octets | None = FROM) -> bytes:
    """A message: From, To, Subject, what `fields` adds, an empty line, `body`."""
    lines = [b"From: " + octets(author)] if author is not None else []
    lines.append(b"To: " + TO.encode())
    if subject is not None:
        lines.append(b"Subject: " + octets(subject))
    lines += [b"MIME-Version: 1.0", *map(octets, fields), b"", octets(body)]
    return b"\r\n".join(lines)


def part(content_type: Octets, body: Octets, *fields: Octets) -> bytes:
    """A part of a multipart. Content-Type "" leaves the field out."""
    lines = [b"Content-Type: " + octets(content_type)] if content_type else []
    return b"\r\n".join([*lines, *map(octets, fields), b"", octets(body)])


def parts(*of: bytes, boundary: str = "b1", preamble: bytes = b"", epilogue: bytes = b"\r\n") -> bytes:
    """The body of a multipart."""
    delimiter = b"--" + boundary.encode()
    return preamble + b"".join(delimiter + b"\r\n" + one + b"\r\n" for one in of) + delimiter + b"--" + epilogue


def multipart(subtype: str, *of: bytes, boundary: str = "b1") -> bytes:
    """A multipart as a part of another one."""
    return part(f'multipart/{subtype}; boundary="{boundary}"', parts(*of, boundary=boundary, epilogue=b""))


def mail_of(subtype: str, *of: bytes, boundary: str = "b1") -> bytes:
    """A message that is a multipart."""
    return mail(parts(*of, boundary=boundary), f'Content-Type: multipart/{subtype}; boundary="{boundary}"')
