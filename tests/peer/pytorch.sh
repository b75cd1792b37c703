#!/usr/bin/env bash
# Hands an exported CSV of each of the seven schedules to the real PyTorch: does it load, run, and give
# the gradients of plain gradient accumulation? By hand, not in CI: it needs a root with PyTorch
# (../shared/tools/torch_root.sh ROOT makes one) and takes about two minutes.
# usage: tests/peer/pytorch.sh PIPEPLAN ROOT
set -euo pipefail
[ $# -eq 2 ] || { echo "usage: $0 PIPEPLAN ROOT" >&2; exit 2; }
pipeplan=$1
root=$2
step=$(dirname "$0")/../../../shared/tools/torch_peer_step.py
mkdir -p "$root/tmp/peer"
cp "$step" "$root/tmp/peer/step.py"
passed=0
failed=0
# name, ranks, stages a rank, microbatches
while read -r name pp v m; do
    csv=$name.csv
    "$pipeplan" schedule --schedule "$name" --pp "$pp" --stages-per-rank "$v" --microbatches "$m" \
        >"$root/tmp/peer/$csv"
    result=$(chroot "$root" env USE_LIBUV=0 GLOO_SOCKET_IFNAME=lo python3 /tmp/peer/step.py \
        --schedule csv --csv "/tmp/peer/$csv" --world "$pp" --stages-per-rank "$v" --mb "$m" \
        --steps 1 --warmup 1 --check 2>/dev/null | tail -n 1)
    verdict=$(jq -r 'if .error then "failed: " + .error else
        (.check // .) | "\(.bitwise_equal) tensors bitwise equal, largest difference \(.diff_accum) of \(.max_grad)"
        end' <<<"$result")
    good=$(jq -r '(.check // .) | (.diff_accum != null and .diff_accum <= 1e-6 * .max_grad)' <<<"$result")
    if [ "$good" = true ]; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
    printf '%-24s pp %d, v %d, m %d: %s\n' "$name" "$pp" "$v" "$m" "$verdict"
done <<'LIST'
GPipe 2 1 6
1F1B 2 1 6
LoopedBFS 2 2 6
Interleaved1F1B 2 2 6
InterleavedZeroBubble 2 2 6
ZBVZeroBubble 2 2 6
DualPipeV 2 2 6
LIST
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
