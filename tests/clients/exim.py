"""An exim of the test's own that relays through the gateway: it takes one message, tries once, and writes a bounce."""

import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.clients.catalog import UNPACKED

EXIM = UNPACKED / "usr/sbin/exim4"
LIBRARIES = UNPACKED / "usr/lib/x86_64-linux-gnu"
USER = "Debian-exim:x:{uid}:{gid}::/:/bin/false\n"  # that exim is compiled to run as

# docs/clients.md's settings, as Debian's template makes them; `self` because the gateway is on this machine.
CONFIGURATION = """
primary_hostname = client.example.com
spool_directory = {folder}/spool
log_file_path = {folder}/%slog
tls_advertise_hosts =
trusted_users = root
never_users =
keep_environment = LD_LIBRARY_PATH : LD_PRELOAD : NSS_WRAPPER_PASSWD : NSS_WRAPPER_GROUP
exim_path = {exim}

begin routers
smarthost:
  driver = manualroute
  route_list = * localhost::{port} byname
  transport = remote_smtp_smarthost
  self = send

begin transports
remote_smtp_smarthost:
  driver = smtp
  max_rcpt = 1
  hosts_require_tls = *
  hosts_require_auth = *
  tls_verify_hosts = *
  tls_verify_certificates = {ca}

begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  client_send = ^{user}^{password}
"""


class Exim:
    """A context manager. Its folder is not one of pytest's, which are closed to the user that it runs as."""

    @staticmethod
    def skip_unless_installed() -> None:
        if not EXIM.exists():
            pytest.skip("exim4 is missing: tests/clients/install.sh unpacks it")
        if os.geteuid() != 0:
            pytest.skip("exim starts as root only")

    def __init__(self, *, relay_port: int, ca: str | Path, user: str, password: str) -> None:
        self.files = tempfile.TemporaryDirectory(prefix="exim-")
        self.folder = Path(self.files.name)
        self.folder.chmod(0o777)
        (self.folder / "ca.pem").write_bytes(Path(ca).read_bytes())
        values = {"folder": self.folder, "port": relay_port, "ca": self.folder / "ca.pem", "user": user, "exim": EXIM}
        (self.folder / "conf").write_text(CONFIGURATION.format(**values, password=password))
        nobody = {"uid": 65534, "gid": 65534}
        (self.folder / "passwd").write_text(Path("/etc/passwd").read_text() + USER.format(**nobody))
        (self.folder / "group").write_text(Path("/etc/group").read_text() + "Debian-exim:x:65534:\n")

    def __enter__(self) -> "Exim":
        return self

    def __exit__(self, *reason: object) -> None:
        self.files.cleanup()

    def send(self, sender: str, recipients: list[str], message: bytes) -> None:
        """Have a message delivered, and the bounce that becomes of it, while this waits."""
        self.run("-f", sender, "-odf", "-oi", *recipients, given=message)
        self.run("-odf", "-qff")

    def run(self, *arguments: str, given: bytes = b"") -> None:
        environment = {
            "PATH": os.environ["PATH"],
            "LD_LIBRARY_PATH": str(LIBRARIES),
            "LD_PRELOAD": str(LIBRARIES / "libnss_wrapper.so"),
            "NSS_WRAPPER_PASSWD": str(self.folder / "passwd"),
            "NSS_WRAPPER_GROUP": str(self.folder / "group"),
        }
        command = [str(EXIM), "-C", str(self.folder / "conf"), *arguments]
        done = subprocess.run(
            command, env=environment, input=given, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60
        )
        assert done.returncode == 0, done.stdout.decode() + self.log()

    def log(self) -> str:
        """What it has logged, of deliveries and of its own troubles."""
        return "".join(path.read_text() for path in sorted(self.folder.glob("*log")))
