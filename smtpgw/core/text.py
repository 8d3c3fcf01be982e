"""Line ends."""


def with_crlf(data: bytes) -> bytes:
    """Message data whose every line ends in CRLF; a bare CR is content and stays."""
    if data.count(b"\n") == data.count(b"\r\n"):
        return data
    return data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
