#!/usr/bin/env bash
# How far predictions are off on this machine, on real compute: calibrated on 1F1B alone, tested on
# other schedules of the same model, 2 ranks of one thread each. Runs take turns, so that what the
# machine does meanwhile meets all of them; 1F1B itself is run again as an unchanged control, whose
# spread says how far measurements can be trusted.
#   predict.sh PIPEPLAN [ROUNDS (15)] [HIDDEN (256)] [SEQ (128)]
# Prints a row a schedule: predicted makespan, median of the measured ones, error, and the spread
# (distance of the 10th and 90th percentile over the median). Needs jq and sqlite3.
set -euo pipefail
program=$(realpath "${1:?usage: predict.sh PIPEPLAN [ROUNDS] [HIDDEN] [SEQ]}")
rounds=${2:-15} hidden=${3:-256} seq=${4:-128}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export OPENBLAS_NUM_THREADS=1
printf '{"model_type": "llama", "num_hidden_layers": 8, "hidden_size": %d, "vocab_size": 256,
  "intermediate_size": %d, "num_attention_heads": 4, "num_key_value_heads": 4,
  "tie_word_embeddings": false}' "$hidden" $((4 * hidden)) >"$work/config.json"

# The makespans of all steps but the first two, which warm up.
run() { # database schedule steps
    "$program" run --schedule "$2" --pp 2 --microbatches 8 --model "$work/config.json" \
        --seq-len "$seq" --steps "$3" --db "$work/$1.db" --json >"$work/run.json"
    jq -r '.steps[2:][].makespan_ns' "$work/run.json"
}
percentile() { sort -g | awk -v p="$1" '{a[NR] = $1} END {print a[1 + int(p * (NR - 1) + 0.5)]}'; }

schedules=(1F1B GPipe ZBH1 Interleaved1F1B ZBVZeroBubble)
run plan 1F1B 15 >/dev/null
"$program" calibrate --db "$work/plan.db" --json >"$work/calibration.json"
for schedule in "${schedules[@]}"; do : >"$work/$schedule"; done
for _ in $(seq "$rounds"); do
    for schedule in "${schedules[@]}"; do
        run plan "$schedule" 5 | percentile 0.5 >>"$work/$schedule"
        jq -r '.predicted_makespan_ns' "$work/run.json" >"$work/$schedule.predicted"
    done
done
printf 'schedule\tpredicted_ms\tmeasured_ms\terror_%%\tspread_%%\n'
for schedule in "${schedules[@]}"; do
    awk -v name="$schedule" -v predicted="$(cat "$work/$schedule.predicted")" \
        -v middle="$(percentile 0.5 <"$work/$schedule")" \
        -v low="$(percentile 0.1 <"$work/$schedule")" -v high="$(percentile 0.9 <"$work/$schedule")" \
        'BEGIN {printf "%s%s\t%.2f\t%.2f\t%+.1f\t%.1f\n", name, name == "1F1B" ? " (control)" : "",
            predicted / 1e6, middle / 1e6, 100 * (predicted / middle - 1), 100 * (high - low) / middle}'
done
