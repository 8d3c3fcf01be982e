"""The command line: its installation, commands that do not exist, and output that is not read to its end."""

import os
import subprocess
import sys
import time
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from smtpgw.__main__ import COMMANDS, USAGE, main, run

ROOT = Path(__file__).parent.parent.parent.parent


@pytest.mark.parametrize(
    ("name", "meant"), [("chek", "check"), ("sever", "serve"), ("redacted", "redact"), ("Explain", "explain")]
)
def test_an_unknown_command_is_reported_with_the_nearest_one(capsys, name, meant):
    assert main([name]) == 2
    output, errors = capsys.readouterr()
    assert output == ""
    assert errors.startswith(f"smtpgw: unknown command '{name}'; did you mean {meant}? ")


def test_an_unknown_command_without_a_similar_one_is_reported(capsys):
    assert main(["zzz", "--help"]) == 2
    errors = capsys.readouterr().err
    assert errors.startswith("smtpgw: unknown command 'zzz'; python -m smtpgw --help")
    assert "did you mean" not in errors


def test_help_is_no_error_and_no_command_is_one(capsys):
    assert main(["--help"]) == 0
    assert main([]) == 2
    assert capsys.readouterr() == (f"{USAGE}\n", f"{USAGE}\n")
    assert all(f"  {name} " in USAGE for name in COMMANDS)


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("arguments", [["--help"], ["explain", "--help"], ["redact", "a@b.example"]])
def test_output_that_nobody_reads_ends_the_command_quietly(arguments, unbuffered):
    reading, writing = os.pipe()
    os.close(reading)
    time.sleep(0.05)  # gevent closes at the loop's next turn
    command, environ = [sys.executable, "-m", "smtpgw", *arguments], {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    ended = subprocess.run(command, cwd=ROOT, env=environ, stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert ended.stderr == ""
    # 141 as after SIGPIPE; argparse itself ignores that its help cannot be written.
    assert ended.returncode == 141 or (ended.returncode == 0 and "--help" in arguments)


def test_the_script_smtpgw_is_installed_with_all_its_files():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    script = EntryPoint("smtpgw", project["project"]["scripts"]["smtpgw"], "console_scripts")
    assert script.load() is run
    package = ROOT / "smtpgw"
    data = {
        path for pattern in project["tool"]["setuptools"]["package-data"]["smtpgw"] for path in package.glob(pattern)
    }
    files = {path for path in package.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
    assert files == data
