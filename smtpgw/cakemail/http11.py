"""HTTP/1.1 messages (RFC 9112): encode the head of a request, and read an answer that arrives in any pieces.

httptools parses the answers. It wraps llhttp, the parser of Node.js, which rejects ambiguous messages: a repeated
length, a length together with chunks, folded fields, lines that end in LF alone. h11 is as strict but needs much more
CPU time, since it is written in Python.

An answer that is not valid raises `InvalidAnswer`. The caller then closes the connection, because the octets that
follow could belong to another client's answer.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httptools

MAX_BODY_BYTES = 1024 * 1024
# Everything but the body: the head, interim answers, the sizes of chunks, trailers.
MAX_FRAMING_BYTES = 64 * 1024
MAX_INTERIM_ANSWERS = 16
MAX_RETRY_AFTER_CHARACTERS = 100
MAX_RETRY_AFTER_SECONDS = 86_400.0


class InvalidAnswer(Exception):
    """The server did not send exactly one complete answer to the request."""


def encode_head(method: str, target: str, authority: str, headers: Mapping[str, str], body_bytes: int) -> bytes:
    """Return the head of a request. `headers` contains all fields except Host and Content-Length.

    Raises:
        ValueError: one of the fields contains a line end.
    """
    lines = [f"{method} {target} HTTP/1.1", f"Host: {authority}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if body_bytes or method == "POST":
        lines.append(f"Content-Length: {body_bytes}")
    head = "\r\n".join([*lines, "\r\n"]).encode("latin-1")
    if head.count(b"\n") != len(lines) + 1 or head.count(b"\r") != len(lines) + 1:
        raise ValueError("a line end in the head of a request")
    return head


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the delay of Retry-After in seconds, at most a day. It is a number or a date (RFC 9110 §10.2.3)."""
    text = headers.get("retry-after", "").strip()
    if not text or len(text) > MAX_RETRY_AFTER_CHARACTERS:
        return None
    if text.isascii() and text.isdigit():
        return min(float(text), MAX_RETRY_AFTER_SECONDS)
    try:
        seconds = (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds()
    # The text is no date, or a date outside the range of datetime.
    except (ValueError, TypeError, ArithmeticError, LookupError):
        return None
    return min(max(0.0, seconds), MAX_RETRY_AFTER_SECONDS)


class AnswerReader:
    """Incremental reader for the answer to one request other than HEAD.

    Interim answers (RFC 9110 §15.2) are skipped. Header names are in lower case; the values of repeated fields are
    joined (RFC 9110 §5.3). Trailers are ignored.
    """

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.is_whole = False
        # The server accepts no further request on this connection.
        self.is_last = False
        self._pieces: list[bytes] = []
        self._body_bytes = self._received_bytes = self._interim_answers = 0
        self._is_head_read = self._ends_with_connection = False
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)

    @property
    def content(self) -> bytes:
        """The body."""
        return b"".join(self._pieces)

    @property
    def is_untouched(self) -> bool:
        """Return whether nothing was received yet, not even an interim answer."""
        return not self._received_bytes

    @property
    def is_begun(self) -> bool:
        """Return whether the head of the final answer was read."""
        return self.status >= 200

    def read(self, octets: bytes) -> None:
        """Read the octets that a socket received; no octets mean the end of the connection. Raises InvalidAnswer."""
        if octets:
            self.feed(octets)
        else:
            self.end()

    def feed(self, octets: bytes) -> None:
        """Read some octets of the answer.

        Raises:
            InvalidAnswer: the answer is not valid, or octets follow it.
        """
        self._received_bytes += len(octets)
        try:
            # The last octet is fed separately. The parser does not report where in its input an answer ended, and it
            # ignores line ends between two answers. An answer that is complete before the last octet was fed is
            # followed by something.
            for piece in (octets[:-1], octets[-1:]):
                if not self._parser or self.is_whole:
                    raise InvalidAnswer("octets after the answer")
                if piece:
                    self._parser.feed_data(piece)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as problem:
            raise InvalidAnswer(str(problem.__context__ or problem)) from problem
        if self._body_bytes > MAX_BODY_BYTES:
            raise InvalidAnswer("the answer's body is too large")
        if self._received_bytes - self._body_bytes > MAX_FRAMING_BYTES:
            raise InvalidAnswer("the answer's head, or what surrounds its body, is too large")
        if self.is_whole:
            # The parser refers to this object; without the cycle both are freed at once.
            self._parser = None

    def end(self) -> None:
        """Record that the server closed the connection. Raises InvalidAnswer unless this is how the answer ends."""
        if not self._ends_with_connection:
            place = "within its answer" if self._received_bytes else "without an answer"
            raise InvalidAnswer(f"the server closed the connection {place}")
        self.is_whole = True
        self._parser = None

    # --- Callbacks of the parser; `feed` raises their exceptions

    def on_message_begin(self) -> None:
        """Start an answer, at its first octet."""
        if self.is_whole:
            raise InvalidAnswer("another answer after the answer")
        self.headers = {}
        self._is_head_read = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Store a field. The parser reports those after the last chunk, too."""
        if self._is_head_read:
            return
        key, text = name.decode("latin-1").lower(), value.decode("latin-1").strip(" \t")
        self.headers[key] = f"{self.headers[key]}, {text}" if key in self.headers else text

    def on_headers_complete(self) -> None:
        """Check the head, at the empty line after it."""
        assert self._parser
        self._is_head_read = True
        status, version = self._parser.get_status_code(), self._parser.get_http_version()
        if not 100 <= status <= 599 or status == 101 or version not in ("1.0", "1.1"):
            raise InvalidAnswer(f"HTTP/{version} with status {status}")
        self.status = status
        coding = self.headers.get("transfer-encoding")
        if status < 200 and (coding is not None or "content-length" in self.headers):  # RFC 9110 §8.6
            raise InvalidAnswer("an interim answer with a length")
        if coding is not None and coding.lower() != "chunked":
            raise InvalidAnswer("a transfer coding that nobody asked for")
        keeps_alive = version == "1.1" and self._parser.should_keep_alive()
        self.is_last = not keeps_alive
        self._ends_with_connection = status >= 200 and coding is None and "content-length" not in self.headers

    def on_body(self, octets: bytes) -> None:
        """Store a piece of the body."""
        self._pieces.append(octets)
        self._body_bytes += len(octets)

    def on_message_complete(self) -> None:
        """End an answer at its last octet, unless the end of the connection ends it."""
        if self.status >= 200:
            self.is_whole = True
            return
        self._interim_answers += 1
        if self._interim_answers > MAX_INTERIM_ANSWERS:
            raise InvalidAnswer("too many interim answers")
