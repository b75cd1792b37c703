/* What a program takes of memory. */
#include "exec/program_priv.h"

#include <stdio.h>

enum { AMOUNT_BYTES = 32 };

/* "12.50 GiB" */
static const char *amount(int64_t bytes, char out[AMOUNT_BYTES]) {
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double figure = (double)bytes;
    int32_t unit = 0;
    for (; figure >= 1024 && unit < 6; unit++) {
        figure /= 1024;
    }
    snprintf(out, AMOUNT_BYTES, unit == 0 ? "%.0f %s" : "%.2f %s", figure, units[unit]);
    return out;
}

/* Sums beyond int64_t are more than there is anywhere. */
static int64_t add(int64_t a, int64_t b) {
    int64_t sum;
    return pp_add_i64(a, b, &sum) ? sum : INT64_MAX;
}

static int64_t need_of(const struct pp_program *p, int32_t rank) {
    return add(add(p->fixed_bytes[rank], p->arena_bytes[rank]), p->host_bytes[rank]);
}

void pp_program_table(const struct pp_program *program, struct pp_text *out) {
    pp_text_printf(out, "%4s  %12s  %12s  %12s  %12s\n", "rank", "fixed", "arena", "host",
                   "together");
    for (int32_t rank = 0; rank < program->sched->rank_count; rank++) {
        char fixed[AMOUNT_BYTES];
        char arena[AMOUNT_BYTES];
        char host[AMOUNT_BYTES];
        char together[AMOUNT_BYTES];
        pp_text_printf(
            out, "%4d  %12s  %12s  %12s  %12s\n", rank, amount(program->fixed_bytes[rank], fixed),
            amount(program->arena_bytes[rank], arena), amount(program->host_bytes[rank], host),
            amount(need_of(program, rank), together));
    }
}

enum pp_status pp_program_check_memory(const struct pp_program *program, int32_t rank_begin,
                                       int32_t rank_end, int64_t available_bytes,
                                       struct pp_err *err) {
    PP_ASSERT(0 <= rank_begin && rank_begin <= rank_end && rank_end <= program->sched->rank_count);
    int64_t need = 0;
    for (int32_t rank = rank_begin; rank < rank_end; rank++) {
        need = add(need, need_of(program, rank));
    }
    if (need <= available_bytes) {
        return PP_OK;
    }
    char need_text[AMOUNT_BYTES];
    char room_text[AMOUNT_BYTES];
    char who[48];
    snprintf(who, sizeof who, rank_end - rank_begin == 1 ? "rank %d takes" : "ranks %d to %d take",
             rank_begin, rank_end - 1);
    enum pp_status status =
        pp_fail(err, PP_E_LIMIT, "%s %s (%lld bytes), but there are %s (%lld bytes)", who,
                amount(need, need_text), (long long)need, amount(available_bytes, room_text),
                (long long)available_bytes);
    pp_hint(err, "smaller microbatches, more ranks, or a schedule that holds fewer at once");
    return status;
}
