"""Plays a transcript of an SMTP dialogue against a server: what the client says, and what it must hear.

    # a comment                        @SMTPGW_MAX_ERRORS=3   a setting       @fault {...}   a fault of the API
    C: a line from the client          BYTES raw octets, with Python's escapes
    S: a line from the server; "..." at its end stands for anything, and "250-..." for all but the last line of a 250
    TLS     do the handshake           LOGIN   the way from the greeting to 235        CLOSED   the server hangs up
    WAIT 1.2                           ACCEPTED recipient subject text                 CALLS n  submissions at the API
    {plain user password} {base64 text} {repeat n text} {random n} stand for what they say; random ones in hex
    {unique} stands for another word in each play of the transcript, but for the same one throughout

An error's session id, at the end of its last line, need not be written.
"""

import ast
import base64
import json
import re
import secrets
import shlex
import socket
import ssl
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.sandbox import Sandbox

FOLDER = Path(__file__).parent.parent / "dialogues"
TIMEOUT_SECONDS = 15
SESSION_ID = re.compile(r" \[[0-9a-f]{12}\]$")
LOGIN = """\
S: 220 localhost ESMTP...
C: EHLO client.example
S: 250-...
C: STARTTLS
S: 220 2.0.0 Ready to start TLS
TLS
C: EHLO client.example
S: 250-...
C: AUTH PLAIN {plain demo@cakemail.example demo-password}
S: 235 2.7.0 Authentication successful
"""


@dataclass
class Transcript:
    """A dialogue file, read."""

    name: str
    settings: dict[str, str] = field(default_factory=dict)
    faults: list[dict[str, object]] = field(default_factory=list)
    only_memory: bool = False
    directives: dict[str, str] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path) -> "Transcript":
        found = cls(path.stem)
        for line in re.sub(r"^LOGIN\n", LOGIN, path.read_text(), flags=re.M).splitlines():
            if line.startswith("@SMTPGW"):
                name, _, value = line[1:].partition("=")
                found.settings[name] = value
            elif line.startswith("@fault"):
                found.faults.append(json.loads(line.removeprefix("@fault")))
            elif line.startswith("@"):
                word, _, value = line[1:].partition(" ")
                found.directives[word] = value
            elif line and not line.startswith("#"):
                found.lines.append(line)
        return found

    @property
    def uses_starttls(self) -> bool:
        return "TLS" in self.lines

    def with_tls_first(self) -> "Transcript":
        """The same over TLS from the first byte: the greeting, then what follows the handshake."""
        after = self.lines[self.lines.index("TLS") + 1 :]
        return Transcript(
            self.name, self.settings, self.faults, self.only_memory, self.directives, [self.lines[0], *after]
        )


def expanded(text: str) -> str:
    def stand_in(found: re.Match[str]) -> str:
        match found[1].split(" "):
            case ["plain", username, password]:
                return base64.b64encode(f"\0{username}\0{password}".encode()).decode()
            case ["base64", *words]:
                return base64.b64encode(" ".join(words).encode()).decode()
            case ["repeat", count, piece]:
                return piece * int(count)
            case ["random", count]:
                return secrets.token_hex(int(count))
        return found[0]

    return re.sub(r"\{([a-z0-9]+ [^{}]*)\}", stand_in, text)


class Player:
    """Plays one transcript on one connection."""

    def __init__(
        self, sock: socket.socket, trusted: ssl.SSLContext, sandbox: Sandbox, *, bytewise: bool = False
    ) -> None:
        sock.settimeout(TIMEOUT_SECONDS)
        self.sock = sock
        self.trusted = trusted
        self.sandbox = sandbox
        self.bytewise = bytewise
        self.received = b""
        self.unique = secrets.token_hex(8)  # `{unique}`: other runs with the same server send another message

    def __enter__(self) -> "Player":
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def play(self, transcript: Transcript) -> None:
        for number, line in enumerate(transcript.lines):
            try:
                self.step(line)
            except (AssertionError, OSError) as problem:
                before = "\n".join(transcript.lines[max(0, number - 4) : number])
                raise AssertionError(f"{transcript.name}: after\n{before}\nat\n{line}\n{problem}") from problem

    def step(self, line: str) -> None:
        word, _, rest = line.partition(" ")
        match word:
            case "C:":
                self.send(expanded(rest.replace("{unique}", self.unique)).encode() + b"\r\n")
            case "BYTES":
                self.send(ast.literal_eval('b"' + expanded(rest).encode("ascii").decode().replace('"', '\\"') + '"'))
            case "S:":
                self.expect(rest)
            case "TLS":
                self.sock = self.trusted.wrap_socket(self.sock, server_hostname="localhost")
            case "WAIT":
                time.sleep(float(rest))
            case "CLOSED":
                assert self.receive() == b"", f"the connection is open; received {self.received!r}"
            case "ACCEPTED":
                self.expect_accepted(*shlex.split(rest))
            case "CALLS":
                calls = self.sandbox.calls().get("POST /v2/emails", {"calls": 0})["calls"]
                assert calls == int(rest), f"{calls} submissions"
            case _:
                raise ValueError(f"not a line of a transcript: {line}")

    def send(self, octets: bytes) -> None:
        if not self.bytewise or len(octets) > 5000:
            self.sock.sendall(octets)
            return
        for n in range(len(octets)):
            self.sock.sendall(octets[n : n + 1])

    def receive(self) -> bytes:
        try:
            octets = self.sock.recv(65536)
        except (ConnectionResetError, ssl.SSLEOFError):
            octets = b""
        self.received += octets
        return octets

    def heard(self) -> str:
        while b"\r\n" not in self.received:
            assert self.receive(), f"the server hung up; left over: {self.received!r}"
        line, _, self.received = self.received.partition(b"\r\n")
        return line.decode("ascii")

    def expect(self, wanted: str) -> None:
        line = self.heard()
        if wanted == "250-...":
            while line.startswith("250-"):
                line = self.heard()
            assert line.startswith("250 "), f"heard {line!r}"
            return
        wanted = expanded(wanted)
        if wanted.endswith("..."):
            assert line.startswith(wanted.removesuffix("...")), f"heard {line!r}"
        else:
            assert SESSION_ID.sub("", line) == wanted, f"heard {line!r}"
        if line[:1] in "45":
            assert SESSION_ID.search(line), f"an error without the session's id: {line!r}"

    def expect_accepted(self, recipient: str, subject: str, text: str) -> None:
        found = [
            e["request"]["content"]["text"].rstrip().replace("\r\n", "\n")
            for e in self.sandbox.emails(email=recipient, bodies="true")
            if e["request"]["content"]["subject"] == subject
        ]
        assert found == [text.replace("\\n", "\n")]
