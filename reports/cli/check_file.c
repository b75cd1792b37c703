#include "reports/cli/check_file.h"

#include "sim/check_repair.h"

#include <stdio.h>
#include <string.h>

void pp_verdict_deinit(struct pp_verdict *v) {
    pp_sched_destroy(v->sched);
    pp_sched_destroy(v->lowered);
    pp_findings_deinit(&v->findings);
    pp_deadlock_deinit(&v->deadlock);
    *v = (struct pp_verdict){0}; /* the caller may do so again after a failure */
}

bool pp_verdict_is_valid(const struct pp_verdict *v) {
    return v->findings.count == 0 && v->deadlock.wait_count == 0;
}

/* Runs a schedule and keeps the cycle it ends in. */
static enum pp_status run(struct pp_verdict *v, const struct pp_sched *s,
                          const struct pp_comms *comms, struct pp_err *err) {
    enum pp_status status = pp_check_run(s, comms, &v->deadlock, err);
    if (status == PP_E_DEADLOCK) {
        v->deadlock_sched = s;
        v->deadlock_err = *err;
        status = PP_OK;
    }
    return status;
}

/* The order alone first: a cycle of compute actions says more than what it does to transfers. */
static enum pp_status judge(struct pp_verdict *v, const struct pp_check_asked *asked,
                            struct pp_err *err) {
    PP_TRY(run(v, v->sched, &asked->comms, err));
    if (!v->sched->lowered && v->deadlock.wait_count == 0) {
        struct pp_lower_options options = PP_LOWER_OPTIONS_DEFAULT(asked->lowering);
        PP_TRY(pp_sched_lower(v->sched, &options, &v->lowered, err));
        PP_TRY(run(v, v->lowered, &asked->comms, err));
    }
    return pp_sched_warn(v->sched, asked->info, &v->warnings, err);
}

enum pp_status pp_verdict_reach(const char *name, const char *text, size_t size,
                                const struct pp_check_asked *asked, struct pp_verdict *v,
                                struct pp_err *err) {
    *v = (struct pp_verdict){0};
    enum pp_status status =
        pp_sched_csv_parse_all(name, text, size, &asked->expect, &v->findings, &v->sched, err);
    if (status == PP_OK) {
        status = judge(v, asked, err);
    } else if (v->findings.count > 0 && (status == PP_E_CSV || status == PP_E_PLACEMENT)) {
        status = PP_OK;
    }
    if (status != PP_OK) {
        pp_verdict_deinit(v);
    }
    return status;
}

/* Writes a schedule down and looks at it as at any file. */
static enum pp_status offer(const struct pp_sched *s, const struct pp_check_asked *asked,
                            struct pp_repair *repair, struct pp_err *err) {
    struct pp_verdict again;
    PP_TRY(pp_sched_csv_write(s, &repair->text, err));
    PP_TRY(pp_verdict_reach("the repaired file", repair->text.bytes, repair->text.size, asked,
                            &again, err));
    repair->is_possible = pp_verdict_is_valid(&again);
    if (!repair->is_possible) {
        pp_text_free(&repair->text);
        pp_copy(repair->reason, sizeof repair->reason,
                again.findings.count > 0 ? again.findings.items[0].err.message
                                         : again.deadlock_err.message);
    }
    pp_verdict_deinit(&again);
    return PP_OK;
}

/* Lowers the order again: as declared, or, where these channels do not carry that, as PyTorch. */
static enum pp_status offer_lowered(const struct pp_sched *order,
                                    const struct pp_check_asked *asked, struct pp_repair *repair,
                                    struct pp_err *err) {
    enum pp_lower_mode modes[2] = {asked->lowering, PP_LOWER_TORCH};
    int32_t mode_count = asked->lowering == PP_LOWER_TORCH ? 1 : 2;
    enum pp_status status = PP_OK;
    for (int32_t i = 0; i < mode_count && status == PP_OK && !repair->is_possible; i++) {
        struct pp_lower_options options = PP_LOWER_OPTIONS_DEFAULT(modes[i]);
        struct pp_sched *lowered = NULL;
        repair->lowering = modes[i];
        status = pp_sched_lower(order, &options, &lowered, err);
        if (status == PP_OK) {
            status = offer(lowered, asked, repair, err);
        }
        pp_sched_destroy(lowered);
    }
    return status;
}

enum pp_status pp_verdict_repair(const struct pp_verdict *v, const struct pp_check_asked *asked,
                                 struct pp_repair *repair, struct pp_err *err) {
    *repair = (struct pp_repair){0};
    if (v->sched == NULL) {
        pp_copy(repair->reason, sizeof repair->reason,
                "cells, counts or placement are at fault, not only the order");
        return PP_OK;
    }
    struct pp_sched *order = NULL;
    enum pp_status status = pp_check_repair(v->sched, &order, &repair->moved_count, err);
    if (status == PP_E_CSV) {
        pp_copy(repair->reason, sizeof repair->reason, err->message);
        return PP_OK;
    }
    if (status == PP_OK) {
        status = v->sched->lowered ? offer_lowered(order, asked, repair, err)
                                   : offer(order, asked, repair, err);
    }
    if (status == PP_OK && !repair->is_possible && !v->sched->lowered && repair->moved_count == 0) {
        snprintf(repair->reason, sizeof repair->reason,
                 "the compute order runs; what hangs is where its lowering receives, on %s "
                 "channels (try --lowering torch, or --channels directed)",
                 pp_channels_text(asked->comms.channels));
    }
    pp_sched_destroy(order);
    return status;
}
