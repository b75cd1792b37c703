#!/bin/bash
# Packs the tables of NeMo Automodel's own answers (see the shared README, golden/nemo) into
# tests/costmodel/*.packed. Run once from the repository's root where ../shared is present:
#     tests/tools/pack_nemo.sh ../shared/golden/nemo tests/costmodel
# Hashes are those of the original's answers, never of ours. Needs awk, jq, sha256sum.
set -euo pipefail
from=$1
to=$2
pack="$(dirname "$0")/pack_table.sh"

awk -F'\t' 'NR > 1 {
    code = $10 ~ /^Number of virtual/ ? "E_NODIV" : $10 ~ /^Single/ ? "E_SINGLE" : "E_MULTI"
    r = $6 == "ok" ? $7 "/" $8 : $6 == "split_error" ? "E_SPLIT:" $7 "/" $8 : code
    print $1, $2, $3, $4, $5 "\t" r
}' "$from/virtual_stages.tsv" | bash "$pack" > "$to/virtual_stages.packed"

awk -F'\t' 'NR > 1 { print $1, $2, $3 "\t" $4 " " $5 " " $6 " " $7 " " $8 " " $9 }' \
    "$from/virtual_stages_wide.tsv" | bash "$pack" > "$to/virtual_stages_wide.packed"

awk -F'\t' 'NR > 1 { print $1, $2 "\t" ($3 == "ok" ? $4 : "E_SPLIT") }' \
    "$from/layer_split.tsv" | bash "$pack" > "$to/layer_split.packed"

awk -F'\t' 'NR > 1 && ($3 == "loop" || $3 == "v") {
    print $1, $2, $3, $4 "\t" ($5 == "ok" ? $6 : "E_PLACEMENT")
}' "$from/stage_ids.tsv" | bash "$pack" > "$to/stage_ids.packed"

# Variant: which options were given, by a letter each, and the prefix.
jq -r '[(if .include_multimodal_encoders == false then "-" else "e" end)
        + (if .include_embeddings == false then "n" else "" end)
        + (if .include_lm_head == false then "h" else "" end)
        + (if .include_rotary_emb == false then "r" else "" end)
        + (if .extra_module_fqns then "x" else "" end)
        + ":" + (.fqn_prefix // "model.") + ":" + (.lm_head_fqn // "lm_head"),
        "\(.num_stages)/\(.num_layers)"] as $k
       | ($k | join(" ")) + "\t" + ([.result[] | join(",")] | join(";"))' \
    "$from/fqn_lists.jsonl" | bash "$pack" > "$to/fqn_lists.packed"
