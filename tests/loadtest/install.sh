#!/bin/bash
# Installs locust, which the tests of the load test run, into build/locust: any number of times.
set -euo pipefail
cd "$(dirname "$0")/../.."

make --silent build/locust/installed
