#!/usr/bin/env bash
# The main job on a shipped recipe: builds pipeplan, plans, and leaves a table (standard output), a
# database and pictures in out/; then rehearses the best plan with a small model of as many layers. Does all the set-up on a fresh Debian 12.
set -euo pipefail
cd "$(dirname "$0")/../.."
bash .ci/setup run
cmake --preset release -DPP_BUILD_TESTS=OFF >/dev/null
cmake --build --preset release >/dev/null
mkdir -p out
build/release/pipeplan plan reports/example/deepseek_v3.yaml --hardware h100-sxm --gpus 256 \
    --db out/plans.db | tee out/plan.txt
echo
build/release/pipeplan report --db out/plans.db --out out
echo
best=$(build/release/pipeplan plan reports/example/deepseek_v3.yaml --hardware h100-sxm --gpus 256 --json |
    sed -n 's/^ *"best": "\(.*\)",*$/\1/p')
build/release/pipeplan run --db out/plans.db --plan "$best" --flushes 1 --seq-len 32 --steps 5 \
    --model reports/example/small_61_layers.json
