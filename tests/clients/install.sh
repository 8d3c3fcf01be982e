#!/bin/bash
# Installs the mail clients that test_clients.py drives: on a Debian 12 machine, as root or with sudo, any number of times.
set -euo pipefail
cd "$(dirname "$0")"

. ../packages.sh

packages=(
    curl swaks msmtp s-nail
    perl libauthen-sasl-perl libio-socket-ssl-perl
    php-cli libphp-phpmailer
    ruby ruby-mail
    golang-go
    libjakarta-mail-java
    postfix libsasl2-modules
)
# It may well be there already from elsewhere than Debian, and then in conflict with Debian's.
command -v javac >/dev/null || packages+=(default-jdk-headless)

# The tests' Postfix has a configuration of its own; the package must not write /etc/postfix/main.cf.
if ! command -v postfix >/dev/null && command -v debconf-set-selections >/dev/null; then
    echo 'postfix postfix/main_mailer_type select No configuration' | as_root debconf-set-selections
fi
install_packages "${packages[@]}"

# Mail servers of which Debian allows one at a time are unpacked and not installed, with what they are linked to; and
# libnss-wrapper, by which exim finds a user of its own.
unpacked=../../build/clients
servers=(nullmailer exim4-daemon-light exim4-base libgnutls-dane0 libidn12 libunbound8 libnss-wrapper)
if [ ! -x "$unpacked/usr/lib/nullmailer/smtp" ] || [ ! -x "$unpacked/usr/sbin/exim4" ]; then
    mkdir -p "$unpacked/packages"
    as_root apt-get update -q
    (cd "$unpacked/packages" && apt-get download -q "${servers[@]}")
    for package in "$unpacked"/packages/*.deb; do
        dpkg-deb -x "$package" "$unpacked"
    done
    rm -r "$unpacked/packages"
    chmod u-s "$unpacked/usr/sbin/exim4" # with that bit the loader would ignore libnss-wrapper
fi

install_node_modules programs/node
