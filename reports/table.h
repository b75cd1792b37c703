/**
 * @file table.h
 * Text tables with aligned columns, and numbers as people read them. Cells are added row by row;
 * the first row is the heading. ASCII only.
 */
#ifndef PP_REPORTS_TABLE_H
#define PP_REPORTS_TABLE_H

#include "costmodel/base.h"

#include <stdio.h>

enum { PP_TABLE_MAX_COLUMNS = 16 };

struct pp_table {
    const char *align;    /* one letter a column, 'l' or 'r'; at most PP_TABLE_MAX_COLUMNS */
    struct pp_text cells; /* each with its zero */
    int32_t next_column;
    int32_t width[PP_TABLE_MAX_COLUMNS];
};

/** @param align  such as "rll"; must outlive the table. Free with pp_table_deinit. */
void pp_table_init(struct pp_table *t, const char *align);
void pp_table_deinit(struct pp_table *t);

/** Adds the next cell; the row is full after one cell a column. */
void pp_table_cell(struct pp_table *t, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/** Adds one cell a column, as the heading needs. @param texts  [columns] */
void pp_table_row(struct pp_table *t, const char *const *texts);

/** Prints all rows. Write errors are left to the stream. @return PP_OK, PP_E_NOMEM */
enum pp_status pp_table_print(const struct pp_table *t, FILE *out, struct pp_err *err);

enum { PP_NUMBER_BYTES = 32 };

/** Nanoseconds as microseconds, exact: "12.5". @return out */
const char *pp_us_text(int64_t ns, char out[PP_NUMBER_BYTES]);

/** "70.6B", "124M", "512": three to four figures, powers of 1000. @return out */
const char *pp_count_text(int64_t count, char out[PP_NUMBER_BYTES]);

#endif
