#!/usr/bin/env bash
# Packs what another evaluator made of PyTorch's schedules into the columns that tests compare:
#   ./pack_torchpp.sh torchpp.tsv > tests/sim/torchpp.tsv
# Only runs that ended well. Durations are those of a rank's whole share of a microbatch.
set -euo pipefail
echo '# schedule p v m tF tB tW p2p makespan span peaks; peaks in whole shares, a rank after the other'
awk -F'\t' -v OFS='\t' 'NR > 1 && $17 == "ok" { print $1, $2, $13, $3, $4, $5, $6, $7, $9, $14, $16 }' "$1"
