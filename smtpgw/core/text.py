"""Line ends."""


def with_crlf(data: bytes) -> bytes:
    """Return message data in which every line ends in CRLF. A CR without LF is content and is kept."""
    if data.count(b"\n") == data.count(b"\r\n"):
        return data
    return data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
