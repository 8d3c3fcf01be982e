"""Fuzzes one target, as `tests.fuzz.run` tells it; atheris ends the process."""

from gevent import monkey

monkey.patch_all()

import sys  # noqa: E402

import atheris  # noqa: E402

with atheris.instrument_imports(include=["smtpgw"]):
    from tests.fuzz.targets import TARGETS

target = TARGETS[sys.argv.pop(1)]
atheris.Setup(sys.argv, target)
atheris.Fuzz()
