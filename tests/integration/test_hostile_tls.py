"""TLS as an attacker finds it, with a certificate of each kind; and certificates that change under open sessions."""

import datetime
import re
import shutil
import smtplib
import socket
import ssl
import subprocess
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from smtpgw.sandbox.certificate import NAMES
from tests.support.gateway import SENDER, Gateway
from tests.support.line import TIMEOUT_SECONDS, metric
from tests.support.recorder import settings
from tests.support.sandbox import Sandbox

PEM = serialization.Encoding.PEM
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


def program(name: str) -> str:
    found = shutil.which(name)
    if not found:
        pytest.skip(f"{name} is not installed; see tests/chaos/install.sh")
    return found


def write_new_pair(kind: str, cert: Path, key: Path) -> None:
    """A new key and a self-signed certificate for loopback, put in place of those that are there."""
    made = ec.generate_private_key(ec.SECP256R1()) if kind == "ECDSA" else rsa.generate_private_key(65537, 2048)
    now = datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(made.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName(NAMES), critical=False)
        .sign(made, hashes.SHA256())
    )
    form = (PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    for path, octets in ((key, made.private_bytes(*form)), (cert, signed.public_bytes(PEM))):
        fresh = path.with_suffix(".new")
        fresh.write_bytes(octets)
        fresh.replace(path)


@pytest.fixture(scope="module", params=["ECDSA", "RSA"])
def serving(
    request: pytest.FixtureRequest, shared_sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    """A gateway with a certificate of either kind."""
    gateway = Gateway(shared_sandbox.url, tmp_path_factory.mktemp("tls"), SMTPGW_TLS_CHECK_SECONDS="0.2")
    write_new_pair(request.param, gateway.cert, gateway.key)
    with gateway:
        yield gateway


def scan(gateway: Gateway, way: str) -> ET.Element:
    target = (
        ["--starttls-smtp", f"127.0.0.1:{gateway.port}"] if way == "STARTTLS" else [f"127.0.0.1:{gateway.smtps_port}"]
    )
    arguments = [program("sslscan"), "--no-colour", "--show-sigs", "--xml=-", *target]
    found = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=True)
    (test,) = ET.fromstring(found.stdout).findall("ssltest")
    return test


@pytest.mark.parametrize("way", ["STARTTLS", "SMTPS"])
def test_sslscan_finds_nothing_weak(way: str, serving: Gateway):
    found = scan(serving, way)
    versions = {p.get("type", "") + p.get("version", ""): p.get("enabled") for p in found.findall("protocol")}
    assert {name for name, enabled in versions.items() if enabled == "1"} == {"tls1.2", "tls1.3"}
    assert set(versions) >= {"ssl2", "ssl3", "tls1.0", "tls1.1"}, "it did not look"
    ciphers = found.findall("cipher")
    assert len(ciphers) >= 6
    assert {c.get("strength") for c in ciphers} <= {"strong", "acceptable"}
    of_1_2 = [c.get("cipher", "") for c in ciphers if c.get("sslversion") == "TLSv1.2"]
    assert all(name.startswith("ECDHE-") and ("GCM" in name or "POLY1305" in name) for name in of_1_2)
    assert [r.attrib for r in found.findall("renegotiation")] == [{"supported": "0", "secure": "0"}]
    assert all(h.get("vulnerable") == "0" for h in found.findall("heartbleed"))
    assert all(c.get("supported") == "0" for c in found.findall("compression"))
    assert found.findall("connection-signature-algorithm"), "it did not look"
    weak = ("SHA1", "MD5", "sha1", "md5", "dsa_sha224", "rsa_pkcs1_sha224")
    signatures = [s.get("name", "") for s in found.findall("connection-signature-algorithm")]
    assert not [name for name in signatures if any(bad in name for bad in weak)]


def s_client(gateway: Gateway, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [program("openssl"), "s_client", "-connect", f"127.0.0.1:{gateway.smtps_port}", *options],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


# ffdhe8192 costs the server 300 times what X25519 does (CVE-2002-20001).
GROUPS = {"X25519": True, "P-256": True, "P-384": True, "X448": False, "ffdhe2048": False, "ffdhe8192": False}
if ssl.OPENSSL_VERSION_INFO >= (3, 5):
    GROUPS["X25519MLKEM768"] = True


@pytest.mark.parametrize("group", GROUPS)
def test_a_client_has_no_costly_key_exchange_to_choose(group: str, serving: Gateway):
    with s_client(serving, "-tls1_3", "-groups", group) as client:
        said, _ = client.communicate("QUIT\n", timeout=TIMEOUT_SECONDS)
    assert ("New, TLSv1.3" in said) == GROUPS[group]
    assert ("handshake failure" in said) != GROUPS[group]


def test_a_client_that_names_a_costly_group_first_gets_another(serving: Gateway):
    with s_client(serving, "-tls1_3", "-groups", "ffdhe8192:P-256") as client:
        said, _ = client.communicate("QUIT\n", timeout=TIMEOUT_SECONDS)
    assert re.search("Server Temp Key: ECDH, (P-256|prime256v1)", said)


SUITES = ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256")


@pytest.mark.parametrize("offered", [SUITES[1:] + SUITES[:1], SUITES[1:2], SUITES[2:]], ids=":".join)
def test_a_client_of_tls_1_3_gets_the_cheapest_suite_it_has(offered: tuple[str, ...], serving: Gateway):
    with s_client(serving, "-tls1_3", "-ciphersuites", ":".join(offered)) as client:
        said, _ = client.communicate("QUIT\n", timeout=TIMEOUT_SECONDS)
    assert f"Cipher is {min(offered, key=SUITES.index)}" in said


def test_an_operators_own_openssl_configuration_stays(sandbox: Sandbox, tmp_path: Path):
    own = tmp_path / "openssl.cnf"
    own.write_text("openssl_conf = a\n[a]\nssl_conf = b\n[b]\nsystem_default = c\n[c]\nGroups = ffdhe2048:X448\n")
    with (
        Gateway(sandbox.url, tmp_path, OPENSSL_CONF=str(own)) as gateway,
        s_client(gateway, "-tls1_3", "-groups", "X448") as client,
    ):
        said, _ = client.communicate("QUIT\n", timeout=TIMEOUT_SECONDS)
    assert "Server Temp Key: X448" in said


def test_a_client_cannot_renegotiate_and_nothing_is_compressed(serving: Gateway):
    with s_client(serving, "-tls1_2", "-comp") as client:
        assert client.stdin
        assert client.stdout
        heard = []
        for line in client.stdout:
            heard.append(line)
            if line.startswith("220 "):
                client.stdin.write("R\n")
                client.stdin.flush()
        said = "".join(heard)
    assert "RENEGOTIATING" in said
    assert "no renegotiation" in said
    assert "Compression: NONE" in said


@pytest.mark.parametrize("version", VERSIONS, ids=lambda v: v.name)
def test_a_session_is_resumed(version: ssl.TLSVersion, serving: Gateway):
    context = serving.trusting()
    context.minimum_version = context.maximum_version = version

    def connect(session: ssl.SSLSession | None = None) -> ssl.SSLSocket:
        plain = socket.create_connection((serving.host, serving.smtps_port), TIMEOUT_SECONDS)
        connection = context.wrap_socket(plain, server_hostname="localhost", session=session)
        assert connection.recv(100).startswith(b"220 "), "the ticket of TLS 1.3 comes with the first octets"
        return connection

    with connect() as first:
        assert not first.session_reused
        session = first.session
    with connect(session) as second:
        assert second.session_reused
        assert second.version() == version.name.replace("_", ".")


def test_a_new_certificate_is_looked_for_twice_a_minute():
    assert settings().tls_check_seconds <= 30


def subject(gateway: Gateway) -> bytes:
    """The certificate that a new connection is shown."""
    untrusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    untrusting.check_hostname, untrusting.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection((gateway.host, gateway.smtps_port), TIMEOUT_SECONDS) as plain,
        untrusting.wrap_socket(plain, server_hostname="localhost") as connection,
    ):
        return connection.getpeercert(binary_form=True) or b""


def wait_for(what: str, condition: object) -> None:
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def send(client: smtplib.SMTP, subject: str) -> None:
    client.sendmail(SENDER, "r@customer.example", f"From: {SENDER}\r\nSubject: {subject}\r\n\r\nhello\r\n")


def test_a_renewed_certificate_is_served_and_no_session_is_dropped(serving: Gateway, sandbox: Sandbox):
    before = subject(serving)
    with serving.client() as client:
        send(client, "before")
        write_new_pair("ECDSA", serving.cert, serving.key)
        wait_for("the new certificate is not served", lambda: subject(serving) != before)
        send(client, "after")
    with serving.client() as another:  # which verifies the new one
        send(another, "with the new one")
    assert {e["subject"] for e in sandbox.emails()} == {"before", "after", "with the new one"}
    assert metric(serving, 'smtpgw_certificate_reloads_total{result="done"}') >= 1


def test_a_broken_renewal_keeps_what_works(serving: Gateway):
    before, good = subject(serving), serving.cert.read_bytes()
    failed = metric(serving, 'smtpgw_certificate_reloads_total{result="failed"}')
    try:
        serving.cert.write_text("no certificate\n")
        wait_for(
            "it was not noticed",
            lambda: metric(serving, 'smtpgw_certificate_reloads_total{result="failed"}') > failed,
        )
        assert subject(serving) == before
        assert serving.is_ready()
    finally:
        serving.cert.write_bytes(good)
