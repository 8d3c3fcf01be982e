"""The gunicorn application: its configuration and server hooks, from the gateway's settings.

Gunicorn's master imports this module before gevent patches the standard library, so it must not import anything that
uses sockets or threads.
"""

import os
from pathlib import Path
from typing import Any

from gunicorn.app.base import BaseApplication

from smtpgw.config.settings import Settings
from smtpgw.server.balancing import ConnectionCounts
from smtpgw.telemetry import logs

# Gunicorn imports the class by its name, after this module.
WORKER_CLASS: str | type = "smtpgw.server.worker.GatewayWorker"
# A worker whose event loop is blocked for this long is killed and replaced.
HANG_TIMEOUT_SECONDS = 60
# Connections that the kernel queues until they are accepted.
BACKLOG = 1024


def options(settings: Settings) -> dict[str, Any]:
    """Return the configuration of gunicorn."""
    return {
        "bind": [str(bound) for bound in settings.binds.values()],
        "workers": settings.workers,
        "worker_class": WORKER_CLASS,
        "backlog": BACKLOG,
        "timeout": HANG_TIMEOUT_SECONDS,
        "graceful_timeout": settings.graceful_timeout_seconds,
        # The limit counts HTTP requests only, so the probes would end a worker that has open sessions.
        "max_requests": 0,
        # The file of the heartbeat is kept in memory.
        "worker_tmp_dir": "/dev/shm" if os.path.isdir("/dev/shm") else None,  # noqa: S108
        # The control socket runs asyncio in the master and needs a writable home directory.
        "control_socket_disable": True,
        # Modules that are imported before the fork are not patched.
        "preload_app": False,
        # The kernel would reset the connections that are queued at a worker which dies.
        "reuse_port": False,
        # Gunicorn would wrap every bind in TLS. The sessions do that themselves.
        "certfile": None,
        "accesslog": None,
        "logconfig_dict": logs.configuration(settings.log_level),
        "proc_name": "smtpgw",
        "on_starting": on_starting,
        "pre_fork": pre_fork,
        "post_fork": post_fork,
        "child_exit": child_exit,
        "worker_exit": worker_exit,
    }


def metrics_folder() -> Path | None:
    """Return the folder in which several workers store their metrics, or None with one worker."""
    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    return Path(folder) if folder else None


def on_starting(_arbiter: object) -> None:
    """Empty the folder of metrics, which survives the restart of a container in its pod."""
    folder = metrics_folder()
    if folder:
        for file in folder.glob("*.db"):
            file.unlink()


def pre_fork(arbiter: Any, worker: Any) -> None:
    """Add a worker to those that share the connections."""
    worker.share = arbiter.app.counts.join()


def post_fork(arbiter: Any, worker: Any) -> None:
    """Pass a worker the signals that it receives while it starts.

    Until it installs its own handlers, it has those of the master, which only put a signal into a queue. A worker that
    misses its TERM serves until the master's SIGKILL, which cuts submissions.
    """
    worker.early_signals = arbiter.SIG_QUEUE


def child_exit(_arbiter: object, worker: Any) -> None:
    """Remove a worker that has ended from the shared counts, and the files of its "live" gauges.

    The latter is what prometheus_client.multiprocess.mark_process_dead does, which the master must not import.
    """
    worker.share.leave()
    folder = metrics_folder()
    if folder:
        for file in folder.glob(f"gauge_live*_{worker.pid}.db"):
            file.unlink()


def worker_exit(_arbiter: object, _worker: Any) -> None:
    """Write the last log lines of a worker, as the last step before it exits."""
    logs.flush()


class Application(BaseApplication):
    """The gunicorn application: a master and its workers."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.counts = ConnectionCounts(settings.workers)
        super().__init__()

    def load_config(self) -> None:
        for name, value in options(self.settings).items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        raise NotImplementedError("the worker builds its web app itself, in load_wsgi")
