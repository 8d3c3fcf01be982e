"""Tests of the load test: its parts, and locust running it."""

import sys
from pathlib import Path

LOADTEST = Path(__file__).parent.parent.parent / "loadtest"
sys.path.append(str(LOADTEST))  # as locust does: the parts find each other by their bare names
