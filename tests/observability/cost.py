"""What it costs to tell of a message, its line in the log and its metrics, beside what a message costs in all.

`python -m tests.observability.cost` measures both, in CPU time: the telling by itself, in a process of its own, and the
whole in a gateway that a few apps send to. `apart` is for benchmarks.
"""

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.support.gateway import ROOT, SENDER, Gateway
from tests.support.sandbox import Sandbox

MESSAGES, ROUNDS = 4000, 3  # told of, to measure; of rounds the best counts, when the machine did least beside it
A_FLUSH = 150  # messages between two flushes: 300 a second
SENT = 1500
APPS = 6
HEADERS = b"From: A <a@app.example>\r\nTo: b@customer.example\r\nSubject: x\r\nMessage-ID: <1@app.example>\r\n"
RAW = HEADERS + b"\r\n" + b"x" * 4000


def telling() -> float:
    """CPU seconds to tell of one message to one recipient, on an open session: its line in the log, and its metrics.

    Told in a row, as a gateway does. In a process that gevent has patched.
    """
    return each(teller())


def counting() -> float:
    """CPU seconds of these that the metrics take."""
    from smtpgw.telemetry.buffered import Counter, Histogram
    from smtpgw.telemetry.top_share import TopShare

    tell, calls = teller(), []
    originals = [
        (Counter, "count", Counter.count),
        (Histogram, "add", Histogram.add),
        (TopShare, "count", TopShare.count),
    ]

    def noted(original: Callable[..., None]) -> Callable[..., None]:
        def note(metric: object, *arguments: object) -> None:
            calls.append((partial(original, metric), arguments))

        return note

    for kind, name, original in originals:
        setattr(kind, name, noted(original))
    tell()
    for kind, name, original in originals:
        setattr(kind, name, original)
    assert len(calls) > 15, "a message is counted by more metrics than that"

    def count() -> None:
        for call, arguments in calls:
            call(*arguments)

    return each(count)


def teller() -> Callable[[], None]:
    """What tells of one message, in a process whose log goes nowhere."""
    from smtpgw.core import replies
    from smtpgw.core.models import Account, Credentials, Envelope, Peer, Submission
    from smtpgw.core.outcomes import Outcome
    from smtpgw.dialects import interpreter
    from smtpgw.message import parser
    from smtpgw.smtp.session_log import SessionLog
    from smtpgw.submission.message_log import MessageLog
    from smtpgw.telemetry import logs, metrics

    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    logs.configure("info", "json", "masked")
    logs.start()
    log = SessionLog("4f1c09a2b7de", Peer("192.0.2.1", 1))
    account = Account(7, Credentials("a@app.example", "p"))
    submission = Submission("4f1c09a2b7de.1", "4f1c09a2b7de", account, Envelope("a@app.example", ["b@c.example"]), RAW)
    mail, options = parser.parse(RAW, "embed"), interpreter.Options()
    outcome = Outcome("b@c.example", "56373aec-adc2-4ad5-bf2e-d16966fdfa30")

    def tell() -> None:
        for verb, reply in (("mail", replies.SENDER_OK), ("rcpt", replies.RECIPIENT_OK), ("data", replies.SEND_DATA)):
            log.reply(verb, reply)
        with MessageLog(submission) as message_log:
            with message_log.stage("parse"):
                message_log.message(mail)
            message_log.options(options)
            with message_log.stage("sender"):
                message_log.sender("sender-1001")
            for cache in ("login", "directory", "directory"):
                metrics.CACHE.count(cache, "hit")
            with message_log.stage("translate"):
                pass
            with message_log.stage("api"):
                metrics.API_SECONDS.add(0.01, "emails", "201")
            message_log.outcomes = [outcome]
            message_log.reply = replies.QUEUED
        log.reply("data", replies.QUEUED)

    return tell


def each(work: Callable[[], None]) -> float:
    """CPU seconds that some work takes for a message, with its part of what is done a few times a second for all."""
    from smtpgw.telemetry import logs, metrics

    def round_of_all() -> float:
        began = time.process_time()
        for number in range(MESSAGES):
            work()
            if number % A_FLUSH == 0:
                metrics.flush()
                logs.flush()
        return (time.process_time() - began) / MESSAGES

    return min(round_of_all() for _ in range(ROUNDS))


def apart(what: str = "telling", **variables: str) -> float:
    """`telling` or `counting`, in a process like a worker."""
    script = (
        "from gevent import monkey; monkey.patch_all()\n"
        "import sys; from tests.observability import cost\n"
        f"print(cost.{what}(), file=sys.stderr)"
    )
    environ = {**os.environ, **variables}
    run = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=environ, capture_output=True, text=True)
    return float(run.stderr.split()[-1])


def whole() -> float:
    """CPU seconds that a gateway takes for one message of 4 KB, over a few open sessions."""
    with tempfile.TemporaryDirectory() as folder, Sandbox() as sandbox, Gateway(sandbox.url, Path(folder)) as gateway:
        send(gateway, SENT // 10)  # logs in, learns its senders
        before = spent(gateway)
        send(gateway, SENT)
        return (spent(gateway) - before) / SENT


def send(gateway: Gateway, messages: int) -> None:
    def app(number: int) -> None:
        with gateway.client() as client:
            for n in range(messages // APPS):
                unique = b"<%d.%d.%d@app.example>" % (messages, number, n)
                raw = RAW.replace(b"a@app.example", SENDER.encode(), 1).replace(b"<1@app.example>", unique)
                client.sendmail(SENDER, ["b@customer.example"], raw)

    apps = [threading.Thread(target=app, args=(number,)) for number in range(APPS)]
    for thread in apps:
        thread.start()
    for thread in apps:
        thread.join()


def spent(gateway: Gateway) -> float:
    page = gateway.get("/metrics")[1]
    return float(next(line for line in page.splitlines() if line.startswith("process_cpu_seconds_total")).split()[1])


def main() -> None:
    all_of_it = whole()
    print(f"a message costs {all_of_it * 1e6:.0f} µs of CPU, of which")
    with tempfile.TemporaryDirectory() as folder:
        for workers, variables in (("one worker", {}), ("several", {"PROMETHEUS_MULTIPROC_DIR": folder})):
            for what, said in (("counting", "the metrics"), ("telling", "metrics and log line")):
                took = apart(what, **variables)
                print(f"  {said} {took * 1e6:.1f} µs with {workers}, {took / all_of_it:.1%}")


if __name__ == "__main__":
    main()
