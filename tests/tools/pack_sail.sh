#!/usr/bin/env bash
# Packs the table of the zero-bubble authors' schedulers (and of own closed forms) into the columns
# that tests compare: ./pack_sail.sh sail.tsv > tests/sim/sail.tsv
# m_W/m_B: w0.366 = 73728/201216, w0.432 = 16/37. v-auto is no schedule of one name and left out.
set -euo pipefail
echo '# scheduler p m tF tI tW p2p memory_limit mem_w makespan span peak; times in units of 1000 ns'
awk -F'\t' -v OFS='\t' 'NR > 1 && $22 == "ok" && $1 != "sail/v-auto" {
    w = $15 == "w0.366" ? "73728/201216" : $15 == "w0.432" ? "16/37" : $15 == "w0.5" ? "1/2" : "1/1"
    print $1, $2, $3, $4, $5, $6, $7, $8, w, $9, $16, $11 }' "$1" | sort -u
