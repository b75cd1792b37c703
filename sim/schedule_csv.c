#include "sim/schedule_csv.h"

/* Gathers small pieces before they go to the text or the hash: a cell is only some bytes long. */
struct writer {
    struct pp_text *out;    /* NULL: to the hash */
    struct pp_sha256 *hash; /* NULL: to the text */
    size_t used;
    char bytes[4096];
};

static void flush(struct writer *w) {
    if (w->out != NULL) {
        pp_text_add(w->out, w->bytes, w->used);
    } else {
        pp_sha256_add(w->hash, w->bytes, w->used);
    }
    w->used = 0;
}

static char *room_for(struct writer *w, size_t size) {
    if (sizeof w->bytes - w->used < size) {
        flush(w);
    }
    return w->bytes + w->used;
}

static void put(struct writer *w, char c) {
    *room_for(w, 1) = c;
    w->used++;
}

static void put_action(struct writer *w, const struct pp_action *a) {
    w->used += pp_action_put(a, room_for(w, PP_ACTION_TEXT_BYTES));
}

static void put_pair(struct writer *w, const struct pp_action *first) {
    put(w, '(');
    put_action(w, first);
    put(w, ';');
    put_action(w, first + 1);
    for (const char *c = ")OVERLAP_F_B"; *c != '\0'; c++) {
        put(w, *c);
    }
}

/* Cells are joined by commas, so the cell of column k has k commas before it in its row. A sealed
 * row has at least one action: Python's special forms of empty rows cannot occur. */
static void put_row(struct writer *w, const struct pp_sched *s, int32_t rank) {
    int32_t column = 0;
    for (int32_t at = s->rank_begin[rank]; at < s->rank_begin[rank + 1]; at++) {
        const struct pp_action *a = &s->actions[at];
        if (a->type >= PP_OFFLOAD && !s->lowered) {
            continue; /* has no cell */
        }
        for (; column < a->cell; column++) {
            put(w, ',');
        }
        if (a->pair == 1) {
            put_pair(w, a);
            at++;
        } else {
            put_action(w, a);
        }
    }
    for (; column < s->cell_count[rank] - 1; column++) {
        put(w, ',');
    }
    put(w, '\r');
    put(w, '\n');
}

static void put_rows(struct writer *w, const struct pp_sched *s) {
    for (int32_t rank = 0; rank < s->rank_count; rank++) {
        put_row(w, s, rank);
    }
    flush(w);
}

enum pp_status pp_sched_csv_write(const struct pp_sched *s, struct pp_text *out,
                                  struct pp_err *err) {
    PP_ASSERT(s->sealed);
    struct writer w = {.out = out};
    put_rows(&w, s);
    return out->failed ? pp_fail(err, PP_E_NOMEM, "out of memory writing the schedule") : PP_OK;
}

void pp_sched_csv_sha256(const struct pp_sched *s, char hex[65]) {
    PP_ASSERT(s->sealed);
    struct pp_sha256 hash;
    pp_sha256_begin(&hash);
    struct writer w = {.hash = &hash};
    put_rows(&w, s);
    pp_sha256_end(&hash, hex);
}
