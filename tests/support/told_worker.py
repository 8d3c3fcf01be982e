"""`serve` as it is, but that its worker writes down whose sockets it uses, and stands still when it is asked to.

For tests/integration/test_worker_guards.py. Imports no more than `serve` does: what is imported before the fork is
not patched.
"""

import json
import os
import sys
import time
from pathlib import Path

from smtpgw.commands import serve
from smtpgw.server import master
from smtpgw.server.worker import GatewayWorker

FOLDER = Path(os.environ["TOLD_FOLDER"])
FOUND, STAND_STILL = FOLDER / "found.json", FOLDER / "stand still"
HANG_TIMEOUT_SECONDS = 3


class Told(GatewayWorker):
    """Looks for the file at each tick."""

    def load_wsgi(self) -> None:
        super().load_wsgi()
        # As the gateway has imported them; nothing is imported here.
        http_client, connection, ssl_ = map(
            sys.modules.get, ("http.client", "urllib3.util.connection", "urllib3.util.ssl_")
        )
        found = {
            "http.client's socket": http_client.socket.socket.__module__,
            "urllib3's socket": connection.socket.socket.__module__,
            "urllib3's SSLContext": ssl_.SSLContext.__module__,
            "our SSLContext": type(self.certificate.context).__module__,
            "time.sleep": time.sleep.__module__,
        }
        FOUND.write_text(json.dumps(found))

    def tick(self) -> None:
        from gevent.monkey import get_original

        super().tick()
        if STAND_STILL.exists():
            STAND_STILL.unlink()
            get_original("time", "sleep")(60)


if __name__ == "__main__":
    master.WORKER_CLASS = Told
    master.HANG_TIMEOUT_SECONDS = HANG_TIMEOUT_SECONDS
    sys.exit(serve.main(sys.argv[1:]))
