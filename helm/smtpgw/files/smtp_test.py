"""What `helm test` runs, with the gateway's image: does a client that verifies everything get as far as its login?

Arguments: address to connect to, NAME:PORT; the name that the certificate must have. Sends nothing.
"""

import os
import smtplib
import ssl
import sys

PRIVATE_CA = "/etc/smtpgw/ca/ca.crt"  # of an issuer that no machine trusts by itself; only such have it in their Secret
TIMEOUT_SECONDS = 15


def main(address: str, hostname: str) -> None:
    host, _, port = address.rpartition(":")
    context = ssl.create_default_context()
    if os.path.exists(PRIVATE_CA) and os.path.getsize(PRIVATE_CA):
        context.load_verify_locations(PRIVATE_CA)
    with smtplib.SMTP(host, int(port), timeout=TIMEOUT_SECONDS) as client:
        client.ehlo()
        must(client.has_extn("starttls"), "STARTTLS is not offered")
        must(not client.has_extn("auth"), "AUTH is offered before TLS: passwords would travel in clear")
        code, text = client.docmd("STARTTLS")
        must(code == 220, f"STARTTLS is answered {code} {text!r}")
        # Not client.starttls: it verifies the name we connect to, and that is the cluster's and not the clients'.
        client.sock = context.wrap_socket(client.sock, server_hostname=hostname)
        client.file = None
        print(f"{client.sock.version()}, certificate of {hostname} until {client.sock.getpeercert()['notAfter']}")
        client.ehlo()
        must(client.has_extn("auth"), "AUTH is not offered after TLS")
        code, text = client.docmd("MAIL FROM:<nobody@example.com>")
        must(code == 530, f"MAIL without a login is answered {code} {text!r}")
    print("STARTTLS, name, expiry, AUTH: all is well")


def must(condition: bool, otherwise: str) -> None:
    if not condition:
        sys.exit(f"smtpgw: {otherwise}")


main(*sys.argv[1:])
