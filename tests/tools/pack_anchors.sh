#!/usr/bin/env bash
# Packs totals that other simulators reached with even costs into the columns that tests compare:
#   ./pack_anchors.sh viz.tsv extra.tsv > tests/sim/anchors.tsv
# viz.tsv: Victarry's visualizer, only runs that ended well; its durations are a stage's.
# extra.tsv: own list schedules; durations are a rank's whole share, v_or_waves counts waves there.
set -euo pipefail
echo '# source strategy p v m tF tB tPair p2p total; times a rank'\''s whole share, a pair of 0: in order'
awk -F'\t' -v OFS='\t' 'NR > 1 && $17 == "ok" {
    sub("^README:", "", $1); v = $1 == "dualpipe" ? 2 : $3 / $2; k = $1 == "dualpipe" ? 1 : v
    print "viz", $1, $2, v, $4, $5 * k, $6 * k, $9 * k, $10, sprintf("%.6g", $11) }' "$1" | sort -u
awk -F'\t' -v OFS='\t' 'NR > 1 {
    v = $1 ~ /^hanayo/ ? 2 * $4 : $1 ~ /^chimera/ ? 2 : $4
    print "own", $1, $2, v, $3, $5, $6, 0, $7, $8 }' "$2" | sort -u
