"""The command line: `python -m smtpgw COMMAND`, also installed as `smtpgw COMMAND`."""

import difflib
import importlib
import os
import select
import signal
import sys
from pathlib import Path
from typing import NoReturn

COMMANDS = {
    "serve": ("smtpgw.commands.serve", "run the gateway"),
    "sandbox": ("smtpgw.sandbox.server", "run a simulated Cakemail API with an inbox on this machine"),
    "demo": ("smtpgw.demo", "run sandbox and gateway, and send a first mail"),
    "check": ("smtpgw.commands.check", "check your Cakemail credentials: login, senders, list"),
    "explain": ("smtpgw.commands.explain", "show what the gateway would do with a message, without sending it"),
    "top": ("smtpgw.commands.top", "watch a running gateway: messages per second, latencies, rejections"),
    "redact": ("smtpgw.commands.redact", "print mail addresses as the log shows them, to search for them"),
    "logged": ("smtpgw.commands.redact", "alias of redact"),
    "capacity": ("smtpgw.commands.capacity", "compute the pods, cores, memory and connections for a volume of mail"),
}
USAGE = "usage: python -m smtpgw COMMAND [OPTIONS]\n\n" + "\n".join(
    f"  {name:8} {meaning}" for name, (_, meaning) in COMMANDS.items()
)
USAGE_ERROR = 2
# The status that a shell reports for a process that SIGPIPE has ended.
BROKEN_PIPE = 128 + signal.SIGPIPE


def main(arguments: list[str]) -> int:
    """Run a command.

    Returns:
        The exit status of the command, or 2 when there is no such command.
    """
    if arguments[:1] in (["-h"], ["--help"], ["help"]):
        print(USAGE)  # noqa: T201
        return 0
    if not arguments:
        print(USAGE, file=sys.stderr)  # noqa: T201
        return USAGE_ERROR
    name, *options = arguments
    if name not in COMMANDS:
        print(unknown_command(name), file=sys.stderr)  # noqa: T201
        return USAGE_ERROR
    status: int = importlib.import_module(COMMANDS[name][0]).main(options)
    return status


def unknown_command(name: str) -> str:
    """Return the message for a command that does not exist, with the one that was probably meant."""
    meant = difflib.get_close_matches(name, COMMANDS, 1)
    suggestion = f"did you mean {meant[0]}? " if meant else ""
    return f"smtpgw: unknown command {name!r}; {suggestion}python -m smtpgw --help lists the commands"


def run() -> NoReturn:
    """Run the command of this process and exit. The entry point of the script `smtpgw`."""
    # OpenSSL reads the variable once, when `ssl` or `hashlib` is imported, so it is set before anything imports them.
    os.environ.setdefault("OPENSSL_CONF", str(Path(__file__).with_name("openssl.cnf")))
    try:
        try:
            status = main(sys.argv[1:])
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        if not is_output_closed():
            raise
        # Python would report the error again when it closes standard output at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = BROKEN_PIPE
    sys.exit(status)


def is_output_closed() -> bool:
    """Return whether the reader of standard output, such as `head`, has closed its end."""
    poll = select.poll()
    poll.register(sys.stdout, 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


if __name__ == "__main__":
    run()
