"""The certificate and the SSLContext made of it, replaced in place when the files change.

A broken pair of files keeps the context that works, and says so in the log and in a metric. Sessions ask for `context`
at each handshake: those that are open keep theirs.
"""

import hashlib
import ssl
import time
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from smtpgw.telemetry import logs, metrics

# TLS 1.2 with forward secrecy and authenticated encryption; TLS 1.3 has no others. What SendGrid and Mailgun ask too.
# The suites of TLS 1.3 and the groups for key exchange are in openssl.cnf.
CIPHERS_TLS_1_2 = "ECDHE+AESGCM:ECDHE+CHACHA20"


class CertificateError(Exception):
    """The files are no certificate and key that belong together; says which and why."""


def make_context(cert_file: str, key_file: str) -> ssl.SSLContext:
    """A server's context from these PEM files.

    Raises:
        CertificateError: when they cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS_TLS_1_2)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.num_tickets = 1  # a second ticket costs 20 µs a handshake, and no client uses it
    try:
        context.load_cert_chain(cert_file, key_file)
    except (OSError, ssl.SSLError) as problem:
        raise CertificateError(f"{cert_file} and {key_file}: {problem}") from problem
    return context


def expiry(pem: bytes) -> datetime:
    """When the first certificate of a PEM file expires.

    Raises:
        CertificateError: when there is none.
    """
    try:
        return x509.load_pem_x509_certificate(pem).not_valid_after_utc
    except ValueError as problem:
        raise CertificateError(str(problem)) from problem


class Certificate:
    """The certificate in use, and the context that serves it."""

    def __init__(self, cert_file: str, key_file: str) -> None:
        """Load the pair.

        Raises:
            CertificateError: when it cannot be used.
        """
        self.cert_file = cert_file
        self.key_file = key_file
        self.seen = self._digest()
        self._load()

    @property
    def is_expired(self) -> bool:
        return self.expires <= datetime.now(UTC)

    def _digest(self) -> bytes:
        try:
            pair = Path(self.cert_file).read_bytes() + b"\0" + Path(self.key_file).read_bytes()
        except OSError as problem:
            raise CertificateError(str(problem)) from problem
        return hashlib.sha256(pair).digest()

    def _load(self) -> None:
        expires = expiry(Path(self.cert_file).read_bytes())
        self.context = make_context(self.cert_file, self.key_file)
        self.expires = expires
        metrics.CERTIFICATE_EXPIRY.set(expires.timestamp())

    def reload_if_changed(self) -> None:
        """Serve the files' present content, if it is new and good."""
        try:
            digest = self._digest()
            if digest == self.seen:
                return
            self.seen = digest
            self._load()
        except (CertificateError, OSError) as problem:
            metrics.CERTIFICATE_RELOADS.labels("failed").inc()
            logs.tls(failed=True, what="certificate kept, the new files cannot be used", reason=str(problem))
        else:
            metrics.CERTIFICATE_RELOADS.labels("done").inc()
            logs.tls(what="certificate replaced", expires=self.expires.isoformat())

    def watch(self, every_seconds: float) -> None:
        """Look at the files again and again; runs for as long as its greenlet."""
        while True:
            time.sleep(every_seconds)
            self.reload_if_changed()
