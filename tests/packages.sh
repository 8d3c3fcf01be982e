# For the install scripts of the tests, which source it: Debian packages, of which none may start its server, and npm's.
# shellcheck shell=bash

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

# Install those of these packages that are missing.
install_packages() {
    local package missing=() policy=/usr/sbin/policy-rc.d
    for package; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    # The tests start servers of their own.
    if [ ! -e "$policy" ]; then
        trap 'as_root rm -f /usr/sbin/policy-rc.d' EXIT
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod 755 "$policy"
    fi
    as_root apt-get update -q
    # --no-remove: a machine that has another mail server keeps it, and this stops here.
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -q -y --no-install-recommends --no-remove "${missing[@]}"
}

# What the lockfile in this folder pins. node and npm may well be there already from elsewhere than Debian, and then in
# conflict with Debian's.
install_node_modules() {
    local missing=()
    command -v node >/dev/null || missing+=(nodejs)
    command -v npm >/dev/null || missing+=(npm)
    [ ${#missing[@]} = 0 ] || install_packages "${missing[@]}"
    npm ci --prefix "$1" --no-audit --no-fund
}
