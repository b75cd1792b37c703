#!/bin/bash
# Packs a table of facts into the small form that tests read (tests/packed_table.h).
#
# In: lines "key key ... <TAB> result" on stdin, keys separated by spaces, each combination at most
# once. Out: one "axis" line a key (its values in order of appearance, numbers sorted), then for each
# value of the first key one line "group <value> <bitmap> <sha256>": the bitmap (hex, first cell in
# the highest bit) tells which combinations of the other keys are present, the SHA-256 is that of
# the lines "key key ... result\n" of those present, in axis order, last key fastest.
set -euo pipefail
export LC_ALL=C
awk -F'\t' '
function digest(text,   command, line) {
    command = "sha256sum > /tmp/pack_table." pid
    printf "%s", text | command
    close(command)
    getline line < ("/tmp/pack_table." pid)
    close("/tmp/pack_table." pid)
    return substr(line, 1, 64)
}
function number(s) { return s ~ /^-?[0-9]+$/ }
# Insertion by value: numbers ascending after words, words in order of appearance.
function insert(a, v,   i) {
    for (i = size[a]; i >= 1 && number(v) && number(axis[a, i]) && axis[a, i] + 0 > v + 0; i--) {
        axis[a, i + 1] = axis[a, i]
    }
    axis[a, i + 1] = v
    size[a]++
}
BEGIN { "echo $PPID" | getline pid }
{
    n = split($1, key, " ")
    for (a = 1; a <= n; a++) if (!((a, key[a]) in known)) { known[a, key[a]] = 1; insert(a, key[a]) }
    result[$1] = $2
}
function walk(a, prefix,   i, k) {
    for (i = 1; i <= size[a]; i++) {
        k = prefix " " axis[a, i]
        if (a < n) { walk(a + 1, k); continue }
        bits = bits ((k in result) ? 1 : 0)
        if (k in result) text = text k " " result[k] "\n"
    }
}
function hex(b,   out, i, v) {
    while (length(b) % 4) b = b "0"
    for (i = 1; i <= length(b); i += 4) {
        v = substr(b, i, 1) * 8 + substr(b, i + 1, 1) * 4 + substr(b, i + 2, 1) * 2 + substr(b, i + 3, 1)
        out = out substr("0123456789abcdef", v + 1, 1)
    }
    return out
}
END {
    for (a = 1; a <= n; a++) {
        printf "axis"
        for (i = 1; i <= size[a]; i++) printf " %s", axis[a, i]
        print ""
    }
    for (g = 1; g <= size[1]; g++) {
        bits = ""; text = ""
        walk(2, axis[1, g])
        print "group", axis[1, g], hex(bits), digest(text)
    }
    system("rm -f /tmp/pack_table." pid)
}'
