"""A Postfix of the test's own that relays through the gateway, as its smarthost: own settings, own queue, own port."""

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from tests.support.ports import free_port

AS_ROOT = [] if os.geteuid() == 0 else ["sudo", "-n"]

MAIN = """
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
maillog_file = {folder}/mail.log
maillog_file_prefixes = {folder}
myhostname = client.example.com
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
mydestination =
local_transport = error:no local mail
alias_maps =
smtp_host_lookup = native

relayhost = [{host}]:{port}
smtp_sasl_auth_enable = yes
smtp_sasl_password_maps = texthash:{folder}/sasl_passwd
smtp_sasl_security_options = noanonymous
smtp_tls_security_level = secure
smtp_tls_CAfile = {folder}/ca.pem
"""

# Services as master(5) has them, without chroot: name, type, private, unprivileged, chroot, wakeup, processes, command.
MASTER = """
127.0.0.1:{listen} inet n - n - - smtpd
pickup    unix n - n 60 1 pickup
cleanup   unix n - n - 0 cleanup
qmgr      unix n - n 300 1 qmgr
tlsmgr    unix - - n 1000? 1 tlsmgr
rewrite   unix - - n - - trivial-rewrite
bounce    unix - - n - 0 bounce
defer     unix - - n - 0 bounce
trace     unix - - n - 0 bounce
verify    unix - - n - 1 verify
flush     unix n - n 1000? 0 flush
proxymap  unix - - n - - proxymap
smtp      unix - - n - - smtp
relay     unix - - n - - smtp
showq     unix n - n - - showq
error     unix - - n - - error
retry     unix - - n - - error
anvil     unix - - n - 1 anvil
scache    unix - - n - 1 scache
postlog   unix-dgram n - n - 1 postlogd
"""


class Postfix:
    """A context manager; `host` and `port` are where it listens.

    Its folder is not one of pytest's, which are closed to the user that Postfix's daemons run as.
    """

    host = "127.0.0.1"

    @staticmethod
    def skip_unless_installed() -> None:
        if not Path("/usr/sbin/postfix").exists():
            pytest.skip("postfix is missing: install Debian's postfix and libsasl2-modules")
        if subprocess.run([*AS_ROOT, "true"]).returncode != 0:
            pytest.skip("Postfix starts as root only: run as root or with sudo")

    def __init__(self, *, relay: str, relay_port: int, ca: str | Path, user: str, password: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="postfix-"))
        self.folder.chmod(0o755)
        self.port = free_port()
        shutil.copy(ca, self.folder / "ca.pem")
        (self.folder / "sasl_passwd").write_text(f"[{relay}]:{relay_port} {user}:{password}\n")
        (self.folder / "config").mkdir()
        (self.folder / "queue").mkdir()
        (self.folder / "config" / "main.cf").write_text(MAIN.format(folder=self.folder, host=relay, port=relay_port))
        (self.folder / "config" / "master.cf").write_text(MASTER.format(listen=self.port))

    def __enter__(self) -> "Postfix":
        self.command("postfix", "start")
        return self

    def __exit__(self, *reason: object) -> None:
        self.command("postfix", "abort")
        subprocess.run([*AS_ROOT, "rm", "-r", self.folder], check=True)

    def command(self, program: str, *arguments: str) -> str:
        """What `postfix` or `postqueue` prints, told to use this instance's settings."""
        done = subprocess.run(
            [*AS_ROOT, f"/usr/sbin/{program}", "-c", self.folder / "config", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert done.returncode == 0, done.stdout + self.log()
        return done.stdout

    def wait_until_empty(self, seconds: float) -> None:
        """Wait until everything it took has been delivered or given back."""
        deadline = time.monotonic() + seconds
        while "Mail queue is empty" not in self.command("postqueue", "-p"):
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.1)

    def log(self) -> str:
        read = subprocess.run([*AS_ROOT, "cat", self.folder / "mail.log"], capture_output=True, text=True)
        return read.stdout + read.stderr
