"""The benchmark runs, and its baseline has what it measures. How long anything takes is no matter of a test."""

import os
import signal
import subprocess
import sys
import time

import pytest

from tests.bench import __main__ as bench
from tests.bench import end_to_end, figures, processes, scale
from tests.bench.figures import TOLERANCE, Figure, Row, Samples
from tests.bench.load import Load
from tests.bench.messages import KINDS, TAG, tags
from tests.support.submitting import Submitting, message


def test_a_round_has_each_figure_of_the_baseline():
    steps = []
    samples = bench.measure(1, scale=0.01, progress=lambda: steps.append(1))
    found = samples.figures()
    measured, baseline = figures.read()
    assert found.keys() == baseline.keys(), "run: make bench ARGS=--write-baseline"
    assert len(steps) == bench.STEPS
    assert all(figure.ms > 0 and figure.ratio > 0 for figure in (*found.values(), *baseline.values()))
    assert 0 < bench.share(bench.METRICS, found) < bench.share(bench.METRICS_AND_LINE, found) < 1
    assert measured.keys() == figures.here().keys()


@pytest.mark.parametrize(
    ("measured", "names"),
    [
        (lambda: scale.connections(1, 0.005, (2, 5)), ["2 connections", "5 connections"]),
        (lambda: scale.two_workers(1, 0.01), ["persistent connections", "a connection each"]),
        (lambda: scale.hours(0.02, 100, 0.01), ["to minute 0.01", "to minute 0.02"]),
    ],
    ids=scale.HEADS,
)
def test_what_a_message_costs_at_other_scales(measured, names):
    points = list(measured())
    assert [point.name for point in points] == names
    assert all(point.ms > 0 and point.value > 0 for point in points)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_messages_differ_by_their_tag_and_nothing_else(kind):
    one, other = tags("a", 2)
    assert len(one) == len(TAG)
    assert TAG not in kind.raw(one)
    assert kind.raw(one).replace(one, other) == kind.raw(other)
    assert b'boundary="' + one in kind.raw(one)
    assert not set(kind.addresses(one)) & set(kind.addresses(other))


def test_what_is_lost_or_doubled_or_refused_is_wrong(sandbox):
    load = Load("4 KB", 2, connections=1)
    first, second = (KINDS["4 KB"].addresses(tag) for tag in tags("p", 2))

    def submitted(*sent):
        with Submitting(sandbox.url) as gateway:
            for number, recipients in enumerate(sent):
                assert gateway.send(recipients, message(str(number))).code == 250

    submitted(first, second)
    end_to_end.check(sandbox, load, "p", {"250": 2})
    for sent, codes, complaint in (
        ((first, second), {"250": 1, "451": 1}, "answers"),
        ((first,), {"250": 2}, "1 are there"),
        ((first, second, second), {"250": 2}, "3 are there, 2 of them different"),
    ):
        sandbox.clear()
        submitted(*sent)
        with pytest.raises(end_to_end.Wrong, match=complaint):
            end_to_end.check(sandbox, load, "p", codes)


def test_growth_is_what_is_more_than_the_noise():
    assert Row("parse: 4 KB", Figure(2.0, 1.01 + TOLERANCE), Figure(1.0, 1.0)).has_grown
    assert not Row("parse: 4 KB", Figure(2.0, 0.99 + TOLERANCE), Figure(1.0, 1.0)).has_grown
    assert not Row("end to end: x", Figure(2.0, 1.01 + TOLERANCE), Figure(1.0, 1.0)).has_grown
    assert not Row("new: x", Figure(2.0, 2.0), None).has_grown


@pytest.mark.parametrize(("factor", "strict"), [(1, 0), (2, 1)])
def test_only_a_strict_run_fails_for_growth(monkeypatch, capsys, factor, strict):
    samples = Samples()
    for stage, figure in figures.read()[1].items():
        samples.add(stage, figure.ms * factor, figure.ms / figure.ratio)
    monkeypatch.setattr(bench, "measure", lambda rounds, progress: samples)
    assert bench.main([]) == 0
    assert bench.main(["--strict"]) == strict
    assert ("more than" in capsys.readouterr().out) == bool(strict)


def test_a_message_lost_gives_no_figures(monkeypatch, capsys):
    def measure(rounds, progress):
        raise end_to_end.Wrong("one is lost")

    monkeypatch.setattr(bench, "measure", measure)
    assert bench.main([]) == 1
    assert "No figures: one is lost" in capsys.readouterr().out


def test_another_python_than_the_baseline_s_is_told():
    here = figures.here()
    assert figures.differences(here) == []
    assert figures.differences({**here, "python": "3.0", "date": "then"}) == [f"python {here['python']}"]


def test_the_cpu_of_a_tree_is_that_of_all_its_processes():
    script = "import subprocess, sys; subprocess.run(['sleep', '60'])"
    with subprocess.Popen([sys.executable, "-c", script], start_new_session=True) as parent:
        try:
            deadline = time.monotonic() + 20
            while len(found := processes.tree(parent.pid)) < 2 and time.monotonic() < deadline:
                time.sleep(0.02)
            assert found[0] == parent.pid
            assert len(found) == 2
            clocks = [time.clock_gettime(~pid << 3 | 2) for pid in found]
            assert processes.cpu_seconds(parent.pid) >= sum(clocks) > 0
        finally:
            os.killpg(parent.pid, signal.SIGKILL)
