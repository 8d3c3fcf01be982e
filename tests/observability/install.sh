#!/bin/bash
# Puts Prometheus, its promtool and the blackbox exporter into build/prometheus, and Grafana's grammar of LogQL beside
# the program that reads with it, and installs jq, with which the runbook reads the log: on Debian or Ubuntu, any number
# of times. Prometheus is unpacked and not installed, since its packages would start servers.
set -euo pipefail
cd "$(dirname "$0")/../.."

. tests/packages.sh

folder=build/prometheus
if [ ! -x "$folder/usr/bin/promtool" ] || [ ! -x "$folder/usr/bin/prometheus-blackbox-exporter" ]; then
    mkdir -p "$folder/packages"
    as_root apt-get update -q
    (cd "$folder/packages" && apt-get download -q prometheus prometheus-blackbox-exporter)
    for package in "$folder"/packages/*.deb; do
        dpkg-deb -x "$package" "$folder"
    done
    rm -r "$folder/packages"
fi
"$folder/usr/bin/promtool" --version | head -n 1

install_packages jq
install_node_modules tests/observability/logql
