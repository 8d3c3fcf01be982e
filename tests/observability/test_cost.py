"""Logs and metrics cost little of what a message costs. The goal is 3 %; twice that is no noise of a busy machine."""

from tests.observability import cost


def test_telling_is_a_small_part_of_a_message(tmp_path):
    whole = cost.whole()
    assert cost.telling_apart() < 0.06 * whole
    assert cost.telling_apart(PROMETHEUS_MULTIPROC_DIR=str(tmp_path)) < 0.06 * whole
