#!/usr/bin/env bash
# Hands a CSV of each schedule that PyTorch can run to the real PyTorch: does it load, run, and give the
# gradients of plain gradient accumulation? Compute-only (csv), which PyTorch lowers itself, and lowered
# by us, its way (torch) and ours (ours). By hand, not in CI: it needs a root with PyTorch
# (../shared/tools/torch_root.sh ROOT makes one) and takes some minutes. PyTorch has no second copy of
# a model (DualPipe, Chimera), no slices (Seq1F1B), and no offload.
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
# name, ranks, stages a rank, microbatches, form
while read -r name pp v m form; do
    csv=$name-$form.csv
    if [ "$form" = csv ]; then
        format=(--format csv)
        peer_format=compute_only
    else
        format=(--format csv-comms --lowering "$form")
        peer_format=compute_comms
    fi
    "$pipeplan" schedule --schedule "$name" --pp "$pp" --stages-per-rank "$v" --microbatches "$m" \
        "${format[@]}" >"$root/tmp/peer/$csv"
    result=$(chroot "$root" env USE_LIBUV=0 GLOO_SOCKET_IFNAME=lo python3 /tmp/peer/step.py \
        --schedule csv --csv "/tmp/peer/$csv" --csv-format "$peer_format" --world "$pp" --stages-per-rank "$v" --mb "$m" \
        --steps 1 --warmup 1 --check 2>/dev/null | tail -n 1)
    verdict=$(jq -r 'if .error then "failed: " + .error else
        (.check // .) | "\(.bitwise_equal) tensors bitwise equal, largest difference \(.diff_accum) of \(.max_grad)"
        end' <<<"$result")
    good=$(jq -r '(.check // .) | (.diff_accum != null and .diff_accum <= 1e-6 * .max_grad)' <<<"$result")
    if [ "$good" = true ]; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
    printf '%-22s %-5s pp %d, v %d, m %d: %s\n' "$name" "$form" "$pp" "$v" "$m" "$verdict"
done <<'LIST'
GPipe 2 1 6 csv
1F1B 2 1 6 csv
LoopedBFS 2 2 6 csv
Interleaved1F1B 2 2 6 csv
InterleavedZeroBubble 2 2 6 csv
ZBVZeroBubble 2 2 6 csv
DualPipeV 2 2 6 csv
ZBH1 2 1 6 csv
ZBH2 2 1 6 csv
ZB1P 2 1 6 csv
ZB2P 2 1 6 csv
VMin 2 2 6 csv
VHalf 2 2 6 csv
VZB 2 2 6 csv
V1F1B 2 2 6 csv
Hanayo 2 4 6 csv
GIS 2 2 6 csv
GISH 2 2 6 csv
1F1BOverlap 2 1 6 csv
Interleaved1F1BOverlap 2 2 6 csv
1F1B 2 1 6 torch
1F1B 2 1 6 ours
Interleaved1F1B 2 2 6 torch
Interleaved1F1B 2 2 6 ours
InterleavedZeroBubble 2 2 6 torch
InterleavedZeroBubble 2 2 6 ours
ZBVZeroBubble 2 2 6 torch
ZBVZeroBubble 2 2 6 ours
DualPipeV 2 2 6 torch
DualPipeV 2 2 6 ours
VHalf 2 2 6 torch
VHalf 2 2 6 ours
Hanayo 2 4 6 torch
Hanayo 2 4 6 ours
LIST
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
