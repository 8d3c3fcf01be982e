"""`make fuzz`: lets atheris look for octets that break a target, each for a while, from the corpus of messages on.

What it finds stays in build/fuzz/TARGET, and is where the next run goes on.
"""

from gevent import monkey

monkey.patch_all()  # as in a worker

import argparse  # noqa: E402
import subprocess  # noqa: E402
import sys  # noqa: E402
from pathlib import Path  # noqa: E402

ROOT = Path(__file__).parent.parent.parent
KEPT = ROOT / "build" / "fuzz"
SEEDS = {"message": [ROOT / "tests" / "corpus"], "dialogue": [ROOT / "tests" / "dialogues"]}
MAX_BYTES = 8192
SLOW_SECONDS = 5  # an input that takes longer is a finding, too
MAX_MIB = 2048


def main(arguments: list[str]) -> int:
    """Fuzz every target, or those named, each in its own process. 1 when it found something, 2 without atheris."""
    try:
        import atheris  # noqa: F401
    except ImportError:
        print("atheris is not installed: it has no wheel for this Python. pip install -r tests/fuzz/requirements.txt")
        return 2
    from tests.fuzz.targets import TARGETS

    parser = argparse.ArgumentParser("python -m tests.fuzz.run", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--seconds", type=int, default=60, help="for each target (60)")
    options = parser.parse_args(arguments)
    failed = []
    for target in options.targets or TARGETS:
        print(f"--- {target}, for {options.seconds} s", flush=True)
        if subprocess.run(
            [sys.executable, "-m", "tests.fuzz.one", *libfuzzer_arguments(target, options.seconds)]
        ).returncode:
            failed.append(target)
    print(f"found something in: {', '.join(failed)}" if failed else "nothing found")
    return 1 if failed else 0


def libfuzzer_arguments(target: str, seconds: int) -> list[str]:
    kept = KEPT / target
    kept.mkdir(parents=True, exist_ok=True)
    limits = [
        f"-max_total_time={seconds}",
        f"-max_len={MAX_BYTES}",
        f"-timeout={SLOW_SECONDS}",
        f"-rss_limit_mb={MAX_MIB}",
    ]
    seeds = [str(folder) for folder in SEEDS.get(target, []) if folder.is_dir()]
    return [
        target,
        *limits,
        f"-artifact_prefix={kept}/found-",
        "-print_final_stats=1",
        "-verbosity=0",
        str(kept),
        *seeds,
    ]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
