#!/usr/bin/env bash
# Instructions an action, counted by callgrind, against those on record: within 2 %. Only our own are
# counted: libc takes what suits the processor. With --record as fourth argument the record is
# written anew.
# Usage: check_instructions.sh PROGRAM RECORD "COMPILER VERSION" [--record]
set -euo pipefail
program=$1 record=$2 compiler=$3 mode=${4:-check}
skip() {
    echo "skipped: $1"
    exit 77
}
[ "$(uname -m)" = x86_64 ] || skip "the record is of x86_64, this is $(uname -m)"
command -v valgrind >/dev/null || skip "no valgrind"
recorded=$(sed -n 's/^# compiler: //p' "$record" 2>/dev/null || true)
[ "$mode" = --record ] || [ "$recorded" = "$compiler" ] ||
    skip "the record is of $recorded, this is $compiler"
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
valgrind --tool=callgrind --callgrind-out-file="$out/count" --compress-strings=no \
    "$program" >"$out/names" 2>"$out/log" || { cat "$out/log"; exit 1; }
[ -e "$out/count.1" ] || skip "built without valgrind's headers"
# A dump for each line of names. Of it the lines of our object file count, calls left out.
i=0
while IFS=$'\t' read -r name actions; do
    i=$((i + 1))
    awk -v name="$name" -v actions="$actions" -v program="$(realpath "$program")" '
        /^ob=/ { ours = substr($0, 4) == program; next }
        /^calls=/ { call = 1; next }
        /^[0-9+*-]/ { if (!call && ours) sum += $2; call = 0 }
        END { printf "%s\t%.2f\n", name, sum / actions }' "$out/count.$i"
done <"$out/names" >"$out/figures"
if [ "$mode" = --record ]; then
    {
        echo "# Instructions an action (of a batch: an action and cost set), 16 ranks, 64 microbatches;"
        echo "# written by check_instructions.sh --record."
        echo "# compiler: $compiler"
        cat "$out/figures"
    } >"$record"
fi
awk -F'\t' '
    /^#/ { next }
    NR == FNR { was[$1] = $2; next }
    !($1 in was) { print $1 ": not on record"; bad = 1; next }
    {
        off = ($2 - was[$1]) / was[$1] * 100
        printf "%-36s %8.2f, on record %8.2f, %+.1f %%\n", $1, $2, was[$1], off
        bad = bad || off > 2 || off < -2 || $2 <= 0
        count++
    }
    END {
        if (bad || !count) {
            print "off by more than 2 %: if that is meant, record anew (tests/bench/README.md)"
            exit 1
        }
    }' "$record" "$out/figures"
