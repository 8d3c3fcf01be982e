"""`helm upgrade` under load: no message is lost or doubled, and nobody is sent to a pod that has gone."""

import json
import pickle
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chart.cluster import HAPROXY
from tests.chart.rollout import MAX, PODS
from tests.support.container import Image, why_not
from tests.support.gateway import ROOT

LACKING = why_not() or ("" if HAPROXY else "no haproxy")
needs_a_cluster = pytest.mark.skipif(bool(LACKING), reason=f"no cluster here: {LACKING}")


class Rollout:
    """A rolling update under way. What it says of errors goes to the test run's own standard error."""

    def __init__(self, image: Image, folder: Path) -> None:
        self.said = folder / "rollout.json"
        with self.said.open("wb") as out:
            command = [sys.executable, "-m", "tests.chart.rollout", str(folder)]
            self.process = subprocess.Popen(
                command, cwd=ROOT, stdin=subprocess.PIPE, stdout=out, start_new_session=True
            )  # a Ctrl-C is for pytest, which ends it in its way
        assert self.process.stdin
        with self.process.stdin as stdin:
            pickle.dump(image, stdin)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(60)


@pytest.fixture(scope="session")
def rollout(image: Image, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rollout]:
    rollout = Rollout(image, tmp_path_factory.mktemp("rollout"))
    yield rollout
    rollout.stop()


@needs_a_cluster
def test_it_begins_and_goes_on_beside_other_tests(rollout: Rollout):
    assert rollout.process.poll() is None


@needs_a_cluster
@pytest.mark.last
@pytest.mark.timeout(400)
def test_a_rolling_update_loses_and_doubles_nothing(rollout: Rollout):
    assert rollout.process.wait() == 0
    said = json.loads(rollout.said.read_text())
    assert said["helm test"] == ["", ""]
    assert said["exit statuses"] == [0] * PODS
    assert [line["cut"] for line in said["drained"]] == [0] * PODS
    assert Counter(said["answers"]).keys() == {250}
    assert 1000 < len(said["answers"]) < MAX, "it was not under load all the time"
    # Whoever connected was served: nobody was sent to a pod that had gone.
    assert {what: n for what, n in said["not sent at first"].items() if what.startswith("connecting")} == {}
    assert said["wrong"] == []
