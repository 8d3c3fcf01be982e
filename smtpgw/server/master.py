"""Gunicorn's settings and hooks, made from ours.

Read by gunicorn's master before gevent patches the standard library: nothing heavy is imported here.
"""

import os
from pathlib import Path
from typing import Any

from gunicorn.app.base import BaseApplication

from smtpgw.config.settings import Settings
from smtpgw.server.balancing import ConnectionCounts
from smtpgw.telemetry import logs

# By name: gunicorn imports it, after this module.
WORKER_CLASS: str | type = "smtpgw.server.worker.GatewayWorker"
HANG_SECONDS = 60  # a worker whose loop stands still for this long is killed and replaced
BACKLOG = 1024  # connections that the kernel holds until they are accepted


def options(settings: Settings) -> dict[str, Any]:
    """What gunicorn is told."""
    return {
        "bind": [str(bound) for bound in settings.binds.values()],
        "workers": settings.workers,
        "worker_class": WORKER_CLASS,
        "backlog": BACKLOG,
        "timeout": HANG_SECONDS,
        "graceful_timeout": settings.graceful_timeout_seconds,
        "max_requests": 0,  # it counts HTTP only: probes would recycle the worker under its sessions
        "worker_tmp_dir": "/dev/shm" if os.path.isdir("/dev/shm") else None,  # noqa: S108  the heartbeat's file
        "control_socket_disable": True,  # it runs asyncio in the master and wants a writable home
        "preload_app": False,  # what is imported before the fork is not patched
        "reuse_port": False,  # it resets the connections queued at a worker that dies
        "certfile": None,  # it would wrap every bind in TLS; the sessions do that themselves
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
    """Where several workers put their metrics for one of them to add up; None with one worker."""
    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    return Path(folder) if folder else None


def on_starting(_arbiter: object) -> None:
    """Empty the folder of metrics: it outlives a container that is restarted in its pod."""
    folder = metrics_folder()
    if folder:
        for file in folder.glob("*.db"):
            file.unlink()


def pre_fork(arbiter: Any, worker: Any) -> None:
    """Give a worker its place among those that share the connections."""
    worker.share = arbiter.app.counts.join()


def post_fork(arbiter: Any, worker: Any) -> None:
    """Show a worker the signals that it is sent while it starts.

    Until it has handlers of its own it has those of the master, which put a signal into a queue and no more. A worker
    that misses its TERM serves until the master's SIGKILL, which cuts submissions.
    """
    worker.early_signals = arbiter.SIG_QUEUE


def child_exit(_arbiter: object, worker: Any) -> None:
    """Take back the place of a worker that has ended, and its "live" gauges, its open sessions for one.

    As prometheus_client.multiprocess.mark_process_dead does, which the master must not import.
    """
    worker.share.leave()
    folder = metrics_folder()
    if folder:
        for file in folder.glob(f"gauge_live*_{worker.pid}.db"):
            file.unlink()


def worker_exit(_arbiter: object, _worker: Any) -> None:
    """The last that runs in a worker: its last log lines are still to be written."""
    logs.flush()


class Application(BaseApplication):
    """The gunicorn tree of the gateway."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.counts = ConnectionCounts(settings.workers)
        super().__init__()

    def load_config(self) -> None:
        for name, value in options(self.settings).items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        raise NotImplementedError("the worker builds its web app itself, in load_wsgi")
