#!/bin/bash
# Installs the mail clients that test_clients.py drives: on a Debian 12 machine, as root or with sudo, any number of times.
set -euo pipefail
cd "$(dirname "$0")"

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

packages=(
    curl swaks msmtp s-nail
    perl libauthen-sasl-perl libio-socket-ssl-perl
    php-cli libphp-phpmailer
    ruby ruby-mail
    golang-go
    libjakarta-mail-java
    postfix libsasl2-modules
)
# These may well be there already from elsewhere than Debian, and then in conflict with Debian's.
command -v javac >/dev/null || packages+=(default-jdk-headless)
command -v node >/dev/null || packages+=(nodejs)
command -v npm >/dev/null || packages+=(npm)

missing=()
for package in "${packages[@]}"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
done

if [ ${#missing[@]} -gt 0 ]; then
    # The tests start a Postfix of their own; the package must neither start one nor write /etc/postfix/main.cf.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        trap 'as_root rm -f "$policy"' EXIT
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod 755 "$policy"
    fi
    command -v debconf-set-selections >/dev/null &&
        echo 'postfix postfix/main_mailer_type select No configuration' | as_root debconf-set-selections
    as_root apt-get update -q
    # --no-remove: a machine that has another mail server keeps it, and this stops here.
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -q -y --no-install-recommends --no-remove "${missing[@]}"
fi

npm ci --prefix programs/node --no-audit --no-fund
