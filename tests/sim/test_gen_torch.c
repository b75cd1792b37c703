/* GPipe, 1F1B and Interleaved1F1B against the zero-bubble authors' runs of them. */
#include "tests/sim/sail_support.h"

static bool of_torch(const struct sail_row *row, struct sail_schedule *ours) {
    if (strcmp(row->scheduler, "own/gpipe") == 0) {
        ours->schedule = "GPipe";
    } else if (strcmp(row->scheduler, "sail/1f1b") == 0) {
        ours->schedule = "1F1B";
    } else if (strncmp(row->scheduler, "sail/1f1b-i", 11) == 0) {
        ours->schedule = "Interleaved1F1B";
        ours->stages_per_rank = (int32_t)strtol(row->scheduler + 11, NULL, 10);
    }
    return ours->schedule != NULL;
}

Test(gen_torch, no_row_is_worse) {
    struct sail_tally tally = {.of = of_torch};
    sail_compare_all("GPipe, 1F1B, Interleaved1F1B", &tally);
}
