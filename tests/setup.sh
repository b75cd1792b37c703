#!/usr/bin/env bash
# Installs the Debian packages that are missing: `setup.sh run` for building and running,
# `setup.sh tests` for the tests too. Asks for nothing when all are there.
set -euo pipefail
packages=(gcc libc6-dev cmake ninja-build pkg-config libsqlite3-dev libfyaml-dev libjansson-dev
          gnuplot-nox fonts-dejavu-core)
[ "${1:-run}" != tests ] || packages+=(libcriterion-dev sqlite3 jq)
missing=()
for package in "${packages[@]}"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' ||
        missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0
echo "installing: ${missing[*]}"
sudo=
[ "$(id -u)" -eq 0 ] || sudo=sudo
$sudo apt-get update -qq
DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
