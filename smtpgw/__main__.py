"""`python -m smtpgw COMMAND`: the one door to everything the project does."""

import importlib
import os
import sys
from pathlib import Path

COMMANDS = {
    "serve": ("smtpgw.commands.serve", "run the gateway"),
    "sandbox": ("smtpgw.sandbox.server", "run a Cakemail API of your own, on this machine, with an inbox to look at"),
    "demo": ("smtpgw.demo", "run sandbox and gateway, and send a first mail"),
    "top": ("smtpgw.commands.top", "watch a gateway that runs: messages a second, latencies, refusals"),
    "redact": ("smtpgw.commands.redact", "print mail addresses as the log shows them, to search for them"),
    "logged": ("smtpgw.commands.redact", "the same as redact"),
    "explain": ("smtpgw.commands.explain", "tell what a mail of yours would become, and send nothing"),
    "capacity": ("smtpgw.commands.capacity", "tell what so many emails an hour take: pods, cores, memory, connections"),
    "check": ("smtpgw.commands.check", "try your Cakemail credentials: login, senders, list"),
}
USAGE = "usage: python -m smtpgw COMMAND [OPTIONS]\n\n" + "\n".join(
    f"  {name:8} {meaning}" for name, (_, meaning) in COMMANDS.items()
)


def main(arguments: list[str]) -> int:
    """Run a command; its exit code, or 2 when there is no such command."""
    if arguments and arguments[0] in COMMANDS:
        run = importlib.import_module(COMMANDS[arguments[0]][0]).main
        code: int = run(arguments[1:])
        return code
    wants_help = arguments[:1] in (["-h"], ["--help"], ["help"])
    print(USAGE, file=sys.stdout if wants_help else sys.stderr)
    return 0 if wants_help else 2


if __name__ == "__main__":
    # OpenSSL reads it once, when `ssl` or `hashlib` is imported: here, before anything is that might import them.
    os.environ.setdefault("OPENSSL_CONF", str(Path(__file__).with_name("openssl.cnf")))
    sys.exit(main(sys.argv[1:]))
