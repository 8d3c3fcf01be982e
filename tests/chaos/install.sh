#!/bin/bash
# Installs the programs that the tests of load balancing, TLS and throttling drive: on Debian 12, as root or with sudo.
set -euo pipefail

. "$(dirname "$0")/../packages.sh"

install_packages haproxy sslscan openssl redis-server
