"""The TLS certificate and its SSLContext, reloaded when the files change.

When the new files cannot be used, the previous context stays in use, and the failure is logged and counted. A session
takes `context` at its handshake, so a reload does not affect open sessions.
"""

import hashlib
import ssl
import time
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from smtpgw.telemetry import logs, metrics

# Cipher suites of TLS 1.2 with forward secrecy and authenticated encryption, as SendGrid and Mailgun require. TLS 1.3
# has no others. The suites of TLS 1.3 and the groups for key exchange are configured in openssl.cnf.
CIPHERS_TLS_1_2 = "ECDHE+AESGCM:ECDHE+CHACHA20"


class CertificateError(Exception):
    """The files are not a certificate and its key. The message names the files and the reason."""


def make_context(cert_file: str, key_file: str) -> ssl.SSLContext:
    """Return a server's context for a certificate and key in PEM files.

    Raises:
        CertificateError: when they cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS_TLS_1_2)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    # OpenSSL sends two session tickets by default. No client uses the second.
    context.num_tickets = 1
    try:
        context.load_cert_chain(cert_file, key_file)
    except (OSError, ssl.SSLError) as problem:
        raise CertificateError(f"{cert_file} and {key_file}: {problem}") from problem
    return context


def expiry(pem: bytes) -> datetime:
    """Return when the first certificate of a PEM file expires.

    Raises:
        CertificateError: when the file has no certificate.
    """
    try:
        return x509.load_pem_x509_certificate(pem).not_valid_after_utc
    except ValueError as problem:
        raise CertificateError(str(problem)) from problem


class Certificate:
    """The certificate in use and its context."""

    def __init__(self, cert_file: str, key_file: str) -> None:
        """Load the certificate and its key.

        Raises:
            CertificateError: when they cannot be used.
        """
        self.cert_file = cert_file
        self.key_file = key_file
        self.digest = self._read_digest()
        self._load()

    @property
    def is_expired(self) -> bool:
        return self.expires <= datetime.now(UTC)

    def _read_digest(self) -> bytes:
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
        """Load the files again when their content has changed. Failures are logged and counted."""
        try:
            digest = self._read_digest()
            if digest == self.digest:
                return
            self.digest = digest
            self._load()
        except (CertificateError, OSError) as problem:
            metrics.CERTIFICATE_RELOADS.labels("failed").inc()
            logs.tls(failed=True, what="certificate kept, the new files cannot be used", reason=str(problem))
        else:
            metrics.CERTIFICATE_RELOADS.labels("done").inc()
            logs.tls(what="certificate replaced", expires=self.expires.isoformat())

    def watch(self, interval_seconds: float) -> None:
        """Check the files at an interval, in a greenlet that never returns."""
        while True:
            time.sleep(interval_seconds)
            self.reload_if_changed()
