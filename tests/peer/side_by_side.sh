#!/usr/bin/env bash
# A training step by pipeplan next to the same by PyTorch's pipeline runtime: same model, schedule,
# microbatches, two processes of one thread each, both on OpenBLAS, one after the other in turn.
#   side_by_side.sh PIPEPLAN ROOT [ROUNDS]
# ROOT holds PyTorch and OpenBLAS: ../shared/tools/torch_root.sh ROOT. Debian's PyTorch links the
# reference BLAS, 40 times slower; OpenBLAS is put in front of it here. Needs root (chroot), mpirun, jq.
# Prints a row a size and schedule: median step of each over all rounds, and their ratio.
set -euo pipefail
program=$(realpath "${1:?usage: side_by_side.sh PIPEPLAN ROOT [ROUNDS]}")
root=${2:?usage: side_by_side.sh PIPEPLAN ROOT [ROUNDS]}
rounds=${3:-5}
here=$(dirname "$(realpath "$0")")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OPENBLAS_NUM_THREADS=1
cp "$here/train_pipeline.py" "$root/tmp/"

config() { # hidden heads layers
    printf '{"model_type": "llama", "num_hidden_layers": %d, "hidden_size": %d, "vocab_size": 256,
      "intermediate_size": %d, "num_attention_heads": %d, "num_key_value_heads": %d,
      "tie_word_embeddings": false}' "$3" "$1" $((4 * $1)) "$2" "$2"
}
ours() { # schedule seq microbatches steps: seconds of each step but the first two
    mpirun --bind-to core -n 2 "$program" run --schedule "$1" --pp 2 --microbatches "$3" \
        --model "$work/config.json" --seq-len "$2" --steps $(($4 + 2)) --trace-every 0 --json |
        jq -r '.steps[2:][].wall_ns / 1e9'
}
theirs() { # schedule seq microbatches steps hidden heads layers
    chroot "$root" env OMP_NUM_THREADS=1 USE_LIBUV=0 GLOO_SOCKET_IFNAME=lo \
        LD_LIBRARY_PATH=/usr/lib/x86_64-linux-gnu/openblas-pthread \
        python3 /tmp/train_pipeline.py --schedule "$1" --seq "$2" --microbatches "$3" --steps "$4" \
        --warmup 2 --hidden "$5" --heads "$6" --kv-heads "$6" --layers "$7" 2>/dev/null |
        tail -n 1 | jq -r '.seconds[]'
}
median() { sort -g | awk '{a[NR] = $1} END {print NR % 2 ? a[(NR + 1) / 2] : (a[NR / 2] + a[NR / 2 + 1]) / 2}'; }

printf 'hidden\tlayers\tseq\tmicrobatches\tschedule\tours_ms\tpytorch_ms\tpytorch/ours\n'
row() { # hidden heads layers seq microbatches steps schedule
    config "$1" "$2" "$3" >"$work/config.json"
    : >"$work/ours"; : >"$work/theirs"
    for _ in $(seq "$rounds"); do
        ours "$7" "$4" "$5" "$6" >>"$work/ours"
        theirs "$7" "$4" "$5" "$6" "$1" "$2" "$3" >>"$work/theirs"
    done
    a=$(median <"$work/ours") b=$(median <"$work/theirs")
    awk -v a="$a" -v b="$b" -v head="$1\t$3\t$4\t$5\t$7" \
        'BEGIN {printf "%s\t%.2f\t%.2f\t%.2f\n", head, 1000 * a, 1000 * b, b / a}'
}
for schedule in 1F1B Interleaved1F1B ZBVZeroBubble; do
    row 64 4 4 16 8 20 "$schedule" # overhead-bound
    row 64 4 4 64 8 20 "$schedule"
    row 256 8 4 128 8 10 "$schedule"
done
for schedule in 1F1B ZBVZeroBubble; do
    row 1024 16 4 256 8 3 "$schedule" # GEMM-bound
done
