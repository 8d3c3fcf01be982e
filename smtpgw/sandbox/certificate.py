"""A self-signed certificate for loopback, for a first run and for tests."""

import datetime
import ipaddress
import os
import tempfile
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAYS = 365
SPARE_DAYS = 1  # a certificate with less than this left is made anew
NAMES: list[x509.GeneralName] = [
    x509.DNSName("localhost"),
    x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
    x509.IPAddress(ipaddress.ip_address("::1")),
]


def write_pair(folder: Path) -> tuple[Path, Path]:
    """Write cert.pem and key.pem into `folder`, which is made where it is missing; a pair that is valid stays.

    Returns their paths.

    Raises:
        OSError: the folder or a file cannot be written.
    """
    certificate_path, key_path = folder / "cert.pem", folder / "key.pem"
    if not is_valid(certificate_path, key_path):
        folder.mkdir(parents=True, exist_ok=True)
        key = ec.generate_private_key(ec.SECP256R1())
        form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        write(key_path, key.private_bytes(*form), 0o600)
        write(certificate_path, self_signed(key).public_bytes(serialization.Encoding.PEM), 0o644)
    key_path.chmod(0o600)
    return certificate_path, key_path


def is_valid(certificate_path: Path, key_path: Path) -> bool:
    """Whether the two files are a certificate for loopback with days left, and its key."""
    try:
        certificate = x509.load_pem_x509_certificate(certificate_path.read_bytes())
        key = serialization.load_pem_private_key(key_path.read_bytes(), password=None)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, TypeError, x509.ExtensionNotFound):
        return False
    spare = certificate.not_valid_after_utc - datetime.datetime.now(datetime.UTC)
    matches = key.public_key() == certificate.public_key()
    return matches and list(names) == NAMES and spare > datetime.timedelta(days=SPARE_DAYS)


def self_signed(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=DAYS))
        .add_extension(x509.SubjectAlternativeName(NAMES), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(identifier, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        .sign(key, hashes.SHA256())
    )


def write(path: Path, content: bytes, mode: int) -> None:
    """Write a file in one step, so that nobody reads half of it, and never with a wider mode than `mode`."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
        Path(temporary).replace(path)
    except OSError:
        Path(temporary).unlink(missing_ok=True)
        raise
