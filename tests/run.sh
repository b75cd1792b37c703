#!/usr/bin/env bash
# Builds with the address and undefined-behaviour sanitizers and runs every test. One command does
# all the set-up on a fresh Debian 12; it needs root only if packages are missing.
set -euo pipefail
cd "$(dirname "$0")/.."
bash .ci/setup tests
cmake --preset asan -DPP_BUILD_TESTS=ON
cmake --build --preset asan
ctest --preset asan -j"$(nproc)"
left_out=$(sed -n '/\[SKIP\] \|^skipped: /p' build/asan/Testing/Temporary/LastTest.log)
[ -z "$left_out" ] || printf 'Left out here:\n%s\n' "$left_out"
