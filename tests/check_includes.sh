#!/usr/bin/env bash
# The walls of the house, checked on the #include lines:
#   costmodel includes nothing of ours; sim never exec or reports; exec never the engines or the search.
set -u
cd "$(dirname "$0")/.."
bad=0
deny() { # folder, forbidden pattern
    local hits
    hits=$(grep -rnE "^#include \"$2" "$1" --include='*.c' --include='*.h' --include='*.cu')
    if [ -n "$hits" ]; then
        printf '%s must not include %s:\n%s\n' "$1" "$2" "$hits"
        bad=1
    fi
}
deny costmodel '(sim|exec|reports|tests)/'
deny sim '(exec|reports|tests)/'
deny exec '(reports|tests)/'
deny exec 'sim/(batch|bounds|calibration|causes|compare|engine|eval|execution|memory|metrics|network|parallel|plan|replay|step|store|vary)'
deny exec 'costmodel/(cost|doc|fqn|hardware|model|recipe|split|value|yaml)'
deny reports 'tests/'
[ $bad -eq 0 ] && echo "include walls hold"
exit $bad
