"""The command `demo`: run sandbox and gateway on this machine, and show a mail on its way through them."""

import contextlib
import json
import os
import signal
import smtplib
import socket
import ssl
import tempfile
import time
from pathlib import Path
from types import FrameType
from urllib.parse import urlsplit

from smtpgw.commands.console import BOLD, DIM, PASSWORD_VARIABLE, NoPassword, complain, say, shortened
from smtpgw.demo.children import Child, ChildFailed, port_problem, running
from smtpgw.demo.dialogue import Dialogue
from smtpgw.demo.inbox import Inbox, answers
from smtpgw.demo.options import DemoOptions, read_options
from smtpgw.demo.sample import sample_message
from smtpgw.sandbox.accounts import DEMO
from smtpgw.sandbox.certificate import write_pair

HOST = "localhost"  # a name of the certificate
# Interval between two checks of the processes and of the inbox.
POLL_INTERVAL_SECONDS = 0.5
# The exit status that a shell reports for a process that Ctrl-C has ended.
INTERRUPTED = 130


def main(arguments: list[str]) -> int:
    """Run the demo.

    Returns:
        The exit status: 0 when the mail was accepted and, without --once, the user has ended the demo; 1 when the mail
        was not accepted or a process failed; 2 when the demo cannot start.
    """
    try:
        options = read_options(arguments)
    except NoPassword as problem:
        complain(str(problem))
        return 2
    if not has_known_host(options.api) or not has_free_ports(options):
        return 2
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    try:
        return run(options)
    except ChildFailed as failure:
        complain(str(failure))
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED


def has_known_host(api: str) -> bool:
    """Return whether the host of the API's address can be resolved; print an error if not. Empty: the sandbox."""
    if not api:
        return True
    host = urlsplit(api).hostname or ""
    try:
        socket.getaddrinfo(host, None)
    except (OSError, UnicodeError) as problem:
        reason = (isinstance(problem, OSError) and problem.strerror) or str(problem)
        complain(f"--api {api}: cannot resolve the host name {host!r} ({reason}); check its spelling and your DNS")
        return False
    return True


def has_free_ports(options: DemoOptions) -> bool:
    """Return whether the demo can listen on all its ports; print an error for each that it cannot use."""
    problems = {option: port_problem(port) for option, port in options.ports.items()}
    for option, problem in problems.items():
        if problem:
            complain(f"127.0.0.1:{options.ports[option]}: {problem}; choose another port with {option}")
    return not any(problems.values())


def interrupt(_number: int, _frame: FrameType | None) -> None:
    """End the demo and its processes on this signal, as Ctrl-C does."""
    raise KeyboardInterrupt


def run(options: DemoOptions) -> int:
    """Run the demo and return its exit status. Raises ChildFailed."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="smtpgw-demo-")))
        certificate, key = write_pair(folder)
        children = start(options, folder, certificate, key, stack)
        if not send(options, certificate):
            complain(children[-1].last_output())
            return 1
        inbox = None if options.api else Inbox(options.api_port)
        if inbox:
            show_call(inbox)
        if options.once:
            return 0
        show_settings(options, certificate)
        try:
            stay(children, inbox)
        except KeyboardInterrupt:
            say("\nEnding …")
    return 0


def start(options: DemoOptions, folder: Path, certificate: Path, key: Path, stack: contextlib.ExitStack) -> list[Child]:
    """Start the processes, each when the one before is ready. `stack` ends them. Raises ChildFailed."""
    say("Starting", BOLD)
    environ = {name: value for name, value in os.environ.items() if name != PASSWORD_VARIABLE}
    children = []
    if not options.api:
        bind = f"127.0.0.1:{options.api_port}"
        children.append(stack.enter_context(running(["sandbox", "--bind", bind], environ, folder / "sandbox.log")))
        children[-1].wait_until(lambda: answers(options.api_port, "/health"))
        say(f"   sandbox   http://{bind}, a simulated Cakemail API")
    environ |= {
        "CAKEMAIL_API_URL": options.api or f"http://127.0.0.1:{options.api_port}",
        "SMTPGW_SMTP_BIND": f"127.0.0.1:{options.smtp_port}",
        "SMTPGW_SMTPS_BIND": "",
        "SMTPGW_HTTP_BIND": f"127.0.0.1:{options.http_port}",
        "SMTPGW_TLS_CERT": str(certificate),
        "SMTPGW_TLS_KEY": str(key),
        "SMTPGW_HOSTNAME": HOST,
        "SMTPGW_LOG_FORMAT": "console",
    }
    children.append(stack.enter_context(running(["serve"], environ, folder / "gateway.log")))
    children[-1].wait_until(lambda: answers(options.http_port, "/health/ready"))
    say(f"   gateway   {HOST}:{options.smtp_port}, submits to {environ['CAKEMAIL_API_URL']}")
    return children


def send(options: DemoOptions, certificate: Path) -> bool:
    """Send the sample mail and return whether it was accepted."""
    say("\nA mail over SMTP, as any application would send it", BOLD)
    context = ssl.create_default_context(cafile=str(certificate))
    raw = sample_message(options.sender, options.recipient)
    try:
        with Dialogue(HOST, options.smtp_port) as client:
            client.start_tls(context)
            accepted = client.log_in(options.user, options.password)
            accepted = accepted and client.submit(options.sender, options.recipient, raw)
            code, text = client.last_reply
    except (smtplib.SMTPException, OSError) as problem:
        complain(f"The mail was not sent: {problem}")
        return False
    if not accepted:
        complain(f"The mail was not accepted: {code} {text}")
    return accepted


def show_call(inbox: Inbox) -> None:
    """Show the API call that the sandbox has received, and its answer."""
    for mail in inbox.unseen():
        say("\nThe API call of the gateway", BOLD)
        say(f"POST /v2/emails\n{json.dumps(shortened(mail['request']), indent=2, ensure_ascii=False)}")
        say(f"answered 201: {mail['status']}, {mail['id']}")


def show_settings(options: DemoOptions, certificate: Path) -> None:
    """Show the settings for the user's own mail client."""
    user, password, from_note = options.user, "the one you have entered", ""
    if not options.api:
        user, password = f"{DEMO.email}  or  apikey", f"{DEMO.password}  or  {DEMO.access_token}"
        from_note = ", the account's confirmed sender"
    say("\nSettings for your own mail client or application", BOLD)
    say(f"   host       {HOST}")
    say(f"   port       {options.smtp_port}")
    say(f"   security   STARTTLS; the certificate is self-signed: trust {certificate}")
    say(f"   user       {user}")
    say(f"   password   {password}")
    say(f"   from       {options.sender}{from_note}")
    if not options.api:
        say(f"\nThe inbox: http://127.0.0.1:{options.api_port}/", BOLD)
    say("Ctrl-C ends it.", DIM)


def stay(children: list[Child], inbox: Inbox | None) -> None:
    """Show the mails that arrive, until interrupted. Raises ChildFailed."""
    while True:
        time.sleep(POLL_INTERVAL_SECONDS)
        for child in children:
            child.check()
        for mail in inbox.unseen() if inbox else ():
            when = time.strftime("%H:%M:%S", time.localtime(mail["received_at"]))
            say(f"   {when}  {mail['sender']['email']} → {mail['email']}: {mail['subject']} ({mail['status']})")
