"""The certificate: the context that is served, reloads of good and broken files, and clients that are rejected."""

import datetime
import os
import shutil
import socket
import ssl
from pathlib import Path

import gevent
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from prometheus_client import REGISTRY

from smtpgw.net import tls
from smtpgw.net.tls import Certificate, CertificateError
from smtpgw.sandbox.certificate import write_pair
from tests.support.gateway import trusting

DAY = datetime.timedelta(days=1)


def write_dated_pair(folder: Path, expires_in: datetime.timedelta) -> tuple[Path, Path]:
    """Return a self-signed certificate for localhost with this expiry."""
    folder.mkdir(exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - 400 * DAY)
    made = builder.not_valid_after(now + expires_in).sign(key, hashes.SHA256())
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(key.private_bytes(*form))
    return folder / "cert.pem", folder / "key.pem"


@pytest.fixture
def pair(tmp_path):
    return write_pair(tmp_path / "first")


@pytest.fixture
def other(tmp_path):
    return write_pair(tmp_path / "other")


@pytest.fixture
def certificate(pair):
    return Certificate(*map(str, pair))


def reloads(result: str) -> float:
    return REGISTRY.get_sample_value("smtpgw_certificate_reloads_total", {"result": result}) or 0.0


def version_spoken(context: ssl.SSLContext, client: ssl.SSLContext) -> str | None:
    """Return the TLS version that both agree on. Raises ssl.SSLError when there is none."""
    ours, theirs = socket.socketpair()
    ours.settimeout(10)
    theirs.settimeout(10)
    serving = gevent.spawn(context.wrap_socket, ours, server_side=True)
    try:
        with client.wrap_socket(theirs, server_hostname="localhost") as encrypted:
            return encrypted.version()
    finally:
        serving.join(10)
        (ours if serving.exception else serving.value).close()
        theirs.close()


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_versions_spoken(version, pair, certificate):
    client = trusting(str(pair[0]))
    client.minimum_version = client.maximum_version = getattr(ssl.TLSVersion, version)
    assert version_spoken(certificate.context, client) == version.replace("_", ".")


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
@pytest.mark.parametrize("version", ["TLSv1", "TLSv1_1"])
def test_versions_refused(version, pair, certificate):
    client = trusting(str(pair[0]))
    client.set_ciphers("ALL:@SECLEVEL=0")  # or it would not even ask
    client.minimum_version = client.maximum_version = getattr(ssl.TLSVersion, version)
    with pytest.raises(ssl.SSLError):
        version_spoken(certificate.context, client)
    lenient = tls.make_context(*map(str, pair))
    lenient.set_ciphers("ALL:@SECLEVEL=0")
    lenient.minimum_version = getattr(ssl.TLSVersion, version)
    assert version_spoken(lenient, client) == version.replace("_", "."), "the client cannot speak it"


@pytest.mark.parametrize("cipher", ["AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA", "ECDHE-ECDSA-AES256-SHA384"])
def test_ciphers_refused(cipher, pair, certificate):
    client = trusting(str(pair[0]))
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    client.set_ciphers(cipher)
    with pytest.raises(ssl.SSLError):
        version_spoken(certificate.context, client)


def test_what_the_context_has(certificate):
    context = certificate.context
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.num_tickets == 1
    for option in (ssl.OP_NO_COMPRESSION, ssl.OP_NO_RENEGOTIATION, ssl.OP_CIPHER_SERVER_PREFERENCE):
        assert context.options & option
    of_1_2 = [c for c in context.get_ciphers() if c["protocol"] == "TLSv1.2"]
    assert of_1_2
    assert all(c["aead"] and c["kea"] == "kx-ecdhe" for c in of_1_2)


def test_files_that_stay_the_same_are_not_loaded_again(certificate, pair):
    context, before = certificate.context, reloads("done")
    os.utime(pair[0], (1, 1))
    certificate.reload_if_changed()
    assert certificate.context is context
    assert reloads("done") == before


def test_a_new_pair_is_served_to_the_next_client(certificate, pair, other):
    before = reloads("done")
    for new, old in zip(other, pair, strict=True):
        shutil.copy(new, old)
    certificate.reload_if_changed()
    assert reloads("done") == before + 1
    assert version_spoken(certificate.context, trusting(str(other[0]))) == "TLSv1.3"


def test_a_pair_behind_a_link_that_is_turned(tmp_path, pair, other):
    """Replace the files as Kubernetes renews a mounted Secret."""
    link = tmp_path / "data"
    link.symlink_to(pair[0].parent)
    certificate = Certificate(str(link / "cert.pem"), str(link / "key.pem"))
    turned = tmp_path / "turned"
    turned.symlink_to(other[0].parent)
    turned.replace(link)
    certificate.reload_if_changed()
    assert version_spoken(certificate.context, trusting(str(other[0]))) == "TLSv1.3"


BROKEN = {
    "certificate without its key": lambda pair, other: shutil.copy(other[0], pair[0]),
    "key without its certificate": lambda pair, other: shutil.copy(other[1], pair[1]),
    "no certificate": lambda pair, other: pair[0].write_text("hello\n"),
    "half a certificate": lambda pair, other: pair[0].write_bytes(pair[0].read_bytes()[:100]),
    "no key": lambda pair, other: pair[1].write_text("hello\n"),
    "empty": lambda pair, other: pair[0].write_text(""),
    "gone": lambda pair, other: pair[0].unlink(),
    "a folder": lambda pair, other: (pair[1].unlink(), pair[1].mkdir()),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_pair_keeps_the_one_that_works_and_is_counted_and_a_good_one_mends_it(how, certificate, pair, other):
    context, expires, first = certificate.context, certificate.expires, trusting(str(pair[0]))
    before = reloads("failed"), reloads("done")
    BROKEN[how](pair, other)
    certificate.reload_if_changed()
    assert certificate.context is context
    assert certificate.expires == expires
    assert (reloads("failed"), reloads("done")) == (before[0] + 1, before[1])
    assert version_spoken(certificate.context, first) == "TLSv1.3"
    for new, old in zip(other, pair, strict=True):
        if old.is_dir():
            old.rmdir()
        shutil.copy(new, old)
    certificate.reload_if_changed()
    assert reloads("done") == before[1] + 1
    assert version_spoken(certificate.context, trusting(str(other[0]))) == "TLSv1.3"


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_pair_does_not_start(how, pair, other):
    BROKEN[how](pair, other)
    with pytest.raises(CertificateError):
        Certificate(*map(str, pair))


@pytest.mark.parametrize(("days", "is_expired"), [(1, False), (-1, True)])
def test_expiry(days, is_expired, tmp_path):
    found = Certificate(*map(str, write_dated_pair(tmp_path, days * DAY)))
    assert found.is_expired is is_expired
    wanted = datetime.datetime.now(datetime.UTC) + days * DAY
    assert abs(found.expires - wanted) < datetime.timedelta(minutes=1)
    assert REGISTRY.get_sample_value("smtpgw_certificate_expiry_timestamp_seconds") == found.expires.timestamp()


def test_a_renewal_ends_the_expiry(tmp_path):
    pair = write_dated_pair(tmp_path / "old", -DAY)
    certificate = Certificate(*map(str, pair))
    assert certificate.is_expired
    for new, old in zip(write_dated_pair(tmp_path / "new", 90 * DAY), pair, strict=True):
        shutil.copy(new, old)
    certificate.reload_if_changed()
    assert not certificate.is_expired


def test_the_files_are_looked_at_again_and_again(certificate, pair, other):
    context = certificate.context
    watching = gevent.spawn(certificate.watch, 0.01)
    with gevent.Timeout(10, AssertionError("not reloaded")):
        pair[0].write_text("broken")
        gevent.sleep(0.1)
        assert certificate.context is context
        for new, old in zip(other, pair, strict=True):
            shutil.copy(new, old)
        while certificate.context is context:
            gevent.sleep(0.01)
    assert not watching.dead
    watching.kill()
