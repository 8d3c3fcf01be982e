#!/bin/bash
# Installs what the tests of the chart drive: HAProxy, network namespaces, checkov. On Debian 12 or Ubuntu, as root or
# with sudo, any number of times.
set -euo pipefail
cd "$(dirname "$0")/../.."

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

missing=()
for package in haproxy iproute2 util-linux; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
    # The tests start a HAProxy of their own; the package must start none.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        trap 'as_root rm -f "$policy"' EXIT
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod 755 "$policy"
    fi
    as_root apt-get update -q
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -q -y --no-install-recommends --no-remove "${missing[@]}"
fi

requirements=tests/chart/requirements-checkov.txt
if [ build/checkov/installed -ot "$requirements" ]; then
    python3 -m venv --clear build/checkov
    build/checkov/bin/python -m pip install --quiet --disable-pip-version-check --requirement "$requirements"
    touch build/checkov/installed
fi
