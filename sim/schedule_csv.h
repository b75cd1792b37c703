/**
 * @file schedule_csv.h
 * PyTorch's schedule CSV, compute-only and lowered (compute_only and compute_comms), in and out: a
 * row a rank, a cell an action, CRLF line ends, empty cells idle (PyTorch 2.14.1, _dump_csv /
 * _load_csv; Python csv conventions).
 *
 * The file carries no counts: stages and their ranks are found from where actions appear. Unlike
 * PyTorch the reader refuses, with row, column and reason: trailing junk in a cell, microbatch
 * numbers missing or where none belongs, duplicated actions, indices out of range, pairs of
 * anything but a forward and a backward, stages on other ranks than expected, and lowered files
 * that pp_sched_seal refuses, which PyTorch loads and then hangs on or miscomputes.
 *
 * OFFLOAD and RELOAD, which PyTorch does not know, have no cell in a compute-only file and cells of
 * their own in a lowered one.
 */
#ifndef PP_SIM_SCHEDULE_CSV_H
#define PP_SIM_SCHEDULE_CSV_H

#include "sim/schedule_findings.h"

enum {
    PP_CSV_MAX_BYTES = 1 << 28,
    PP_CSV_MAX_LOWERED_BYTES = 1 << 30,
};

/** Appends the CSV, byte for byte as PyTorch writes it: compute-only, or lowered if the schedule
 * is.
 *  @return PP_OK, PP_E_NOMEM */
enum pp_status pp_sched_csv_write(const struct pp_sched *s, struct pp_text *out,
                                  struct pp_err *err);

/**
 * Content id: SHA-256 of what pp_sched_csv_write writes, hex. The rows hold the placement too, as
 * each stage appears on its rank. On demand, because hashing takes longer than all of sealing.
 */
void pp_sched_csv_sha256(const struct pp_sched *s, char hex[65]);

/** What a file is expected to hold; 0 = take what the file says. */
struct pp_csv_expect {
    int32_t rank_count, stage_count, microbatch_count;
    const int32_t *stage_rank; /* [stage_count] ranks of the stages, for which `stage_count` is
                                  needed; NULL = where the file has them. A file whose rows are in
                                  another order than the ranks is found out by this only */
    bool is_lowered;           /* the compute_comms form */
    bool is_bidirectional;     /* two pipelines, see pp_sched_set_bidirectional */
    int32_t slice_count;       /* see pp_sched_set_slices; 0 = 1 */
};

/**
 * Parses and seals.
 * @param name  file name for messages
 * @return PP_OK, PP_E_CSV (line = row, column = cell, both 1-based), PP_E_RANGE (limits, or counts
 *         that two pipelines or slices do not divide), PP_E_NOMEM
 */
enum pp_status pp_sched_csv_parse(const char *name, const char *text, size_t size,
                                  const struct pp_csv_expect *expect, struct pp_sched **sched_p,
                                  struct pp_err *err);

/**
 * The same, going on behind what is wrong.
 * @param findings  NULL: as pp_sched_csv_parse
 * @param sched_p   set, too, where only sealing failed: to the schedule as it is, not sealed, whose
 *                  actions may be double, missing or out of order
 * @return as pp_sched_csv_parse; PP_E_CSV if anything was noted in `findings`, of which `err` then
 *         is one
 */
enum pp_status pp_sched_csv_parse_all(const char *name, const char *text, size_t size,
                                      const struct pp_csv_expect *expect,
                                      struct pp_findings *findings, struct pp_sched **sched_p,
                                      struct pp_err *err);

/** Reads a file. @return as pp_sched_csv_parse, PP_E_FILE */
enum pp_status pp_sched_csv_read(const char *path, const struct pp_csv_expect *expect,
                                 struct pp_sched **sched_p, struct pp_err *err);

#endif
