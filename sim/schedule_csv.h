/**
 * @file schedule_csv.h
 * PyTorch's compute-only schedule CSV, in and out: a row a rank, a cell an action, CRLF line ends,
 * empty cells idle (PyTorch 2.14.1, _dump_csv / _load_csv; Python csv conventions).
 *
 * The file carries no counts: stages and their ranks are found from where actions appear. Unlike
 * PyTorch the reader refuses trailing junk in a cell, duplicated actions and indices out of range,
 * with row, column and reason.
 */
#ifndef PP_SIM_SCHEDULE_CSV_H
#define PP_SIM_SCHEDULE_CSV_H

#include "sim/schedule.h"

enum { PP_CSV_MAX_BYTES = 256 * 1024 * 1024 };

/** Appends the compute-only CSV, byte for byte as PyTorch writes it. @return PP_OK, PP_E_NOMEM */
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
};

/**
 * Parses and seals.
 * @param name  file name for messages
 * @return PP_OK, PP_E_CSV (line = row, column = cell, both 1-based), PP_E_RANGE, PP_E_NOMEM
 */
enum pp_status pp_sched_csv_parse(const char *name, const char *text, size_t size,
                                  const struct pp_csv_expect *expect, struct pp_sched **sched_p,
                                  struct pp_err *err);

/** Reads a file. @return as pp_sched_csv_parse, PP_E_FILE */
enum pp_status pp_sched_csv_read(const char *path, const struct pp_csv_expect *expect,
                                 struct pp_sched **sched_p, struct pp_err *err);

#endif
