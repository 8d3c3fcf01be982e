"""What is told of a message costs little of what a message costs.

The objective is 3 % for the metrics. Twice that, for the log line with them, is no noise of a busy machine.
"""

import pytest

from tests.observability import cost


@pytest.mark.parametrize("workers", [1, 2])
def test_telling_is_a_small_part_of_a_message(workers, tmp_path):
    variables = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)} if workers > 1 else {}
    whole, telling, counting = cost.whole(), cost.apart(**variables), cost.apart("counting", **variables)
    assert counting < telling < 0.06 * whole
    assert counting < 0.03 * whole
