#include "reports/table.h"

#include <stdarg.h>
#include <string.h>

void pp_table_init(struct pp_table *t, const char *align) {
    PP_ASSERT(strlen(align) >= 1 && strlen(align) <= PP_TABLE_MAX_COLUMNS);
    *t = (struct pp_table){.align = align};
}

void pp_table_deinit(struct pp_table *t) {
    pp_text_free(&t->cells);
}

/* Closes the cell whose text begins at `begin`. */
static void end_cell(struct pp_table *t, size_t begin) {
    int32_t width = (int32_t)(t->cells.size - begin);
    pp_text_add(&t->cells, "", 1);
    if (width > t->width[t->next_column]) {
        t->width[t->next_column] = width;
    }
    t->next_column = t->align[t->next_column + 1] == '\0' ? 0 : t->next_column + 1;
}

void pp_table_cell(struct pp_table *t, const char *format, ...) {
    char text[512];
    va_list args;
    va_start(args, format);
    int size = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    size_t begin = t->cells.size;
    if (size > 0) {
        pp_text_add(&t->cells, text, strlen(text));
    }
    end_cell(t, begin);
}

void pp_table_row(struct pp_table *t, const char *const *texts) {
    PP_ASSERT(t->next_column == 0);
    for (size_t i = 0; t->align[i] != '\0'; i++) {
        size_t begin = t->cells.size;
        pp_text_puts(&t->cells, texts[i]);
        end_cell(t, begin);
    }
}

enum pp_status pp_table_print(const struct pp_table *t, FILE *out, struct pp_err *err) {
    if (t->cells.failed) {
        return pp_fail(err, PP_E_NOMEM, "out of memory for a table");
    }
    PP_ASSERT(t->next_column == 0);
    int32_t column = 0;
    const char *end = t->cells.bytes + t->cells.size;
    for (const char *cell = t->cells.bytes; cell < end; cell += strlen(cell) + 1) {
        bool last = t->align[column + 1] == '\0';
        if (t->align[column] == 'r') {
            fprintf(out, "%*s", t->width[column], cell);
        } else {
            fprintf(out, "%-*s", last ? 0 : t->width[column], cell); /* no blanks at line ends */
        }
        fputs(last ? "\n" : "  ", out);
        column = last ? 0 : column + 1;
    }
    return PP_OK;
}

const char *pp_us_text(int64_t ns, char out[PP_NUMBER_BYTES]) {
    snprintf(out, PP_NUMBER_BYTES, "%lld.%03lld", (long long)(ns / 1000), (long long)(ns % 1000));
    size_t size = strlen(out);
    while (out[size - 1] == '0') {
        out[--size] = '\0';
    }
    if (out[size - 1] == '.') {
        out[size - 1] = '\0';
    }
    return out;
}

const char *pp_count_text(int64_t count, char out[PP_NUMBER_BYTES]) {
    static const char units[] = {'\0', 'K', 'M', 'B', 'T', 'P', 'E'};
    size_t unit = 0;
    double value = (double)count;
    for (; value >= 999.5 && unit + 1 < sizeof units; unit++) {
        value /= 1000.0;
    }
    const char *format = unit == 0 || value >= 99.95 ? "%.0f%c"
                         : value >= 9.995            ? "%.1f%c"
                                                     : "%.2f%c";
    snprintf(out, PP_NUMBER_BYTES, format, value, units[unit]);
    return out;
}
