#!/bin/bash
# Installs what the tests of the chart drive: HAProxy, network namespaces, checkov. On Debian 12 or Ubuntu, as root or
# with sudo, any number of times.
set -euo pipefail
cd "$(dirname "$0")/../.."

. tests/packages.sh

install_packages haproxy iproute2 util-linux

requirements=tests/chart/requirements-checkov.txt
if [ build/checkov/installed -ot "$requirements" ]; then
    python3 -m venv --clear build/checkov
    build/checkov/bin/python -m pip install --quiet --disable-pip-version-check --requirement "$requirements"
    touch build/checkov/installed
fi
