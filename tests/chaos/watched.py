"""`serve` as it is, but that its worker says how many greenlets it has when it is asked: for `make soak`."""

import gc
import os
import sys
from pathlib import Path

from greenlet import greenlet

from smtpgw.commands import serve
from smtpgw.server import master
from smtpgw.server.worker import GatewayWorker

QUESTION = Path(os.environ["WATCH_FOLDER"]) / "question"
ANSWER = QUESTION.with_name("answer")


class Watched(GatewayWorker):
    """A worker that looks for the question at each tick."""

    def tick(self) -> None:
        super().tick()
        if QUESTION.exists():
            gc.collect()
            alive = [found for found in gc.get_objects() if isinstance(found, greenlet) and not found.dead]
            ANSWER.write_text(str(len(alive)))
            QUESTION.unlink()


if __name__ == "__main__":
    master.WORKER_CLASS = Watched
    sys.exit(serve.main(sys.argv[1:]))
