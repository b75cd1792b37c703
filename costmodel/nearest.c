#include "costmodel/nearest.h"

#include "costmodel/base.h"

#include <string.h>

enum { MAX_WORD = 64 };

static size_t cut_length(const char *s) {
    size_t n = strlen(s);
    return n < MAX_WORD ? n : MAX_WORD;
}

static int32_t min3(int32_t a, int32_t b, int32_t c) {
    int32_t ab = a < b ? a : b;
    return ab < c ? ab : c;
}

/* Levenshtein's distance, one row at a time. */
int32_t pp_word_distance(const char *a, const char *b) {
    int32_t row[MAX_WORD + 1];
    size_t n = cut_length(a);
    size_t m = cut_length(b);
    for (size_t k = 0; k <= m; k++) {
        row[k] = (int32_t)k;
    }
    for (size_t i = 1; i <= n; i++) {
        int32_t diagonal = row[0];
        row[0] = (int32_t)i;
        for (size_t k = 1; k <= m; k++) {
            int32_t changed = diagonal + (pp_lower(a[i - 1]) != pp_lower(b[k - 1]));
            diagonal = row[k];
            row[k] = min3(row[k] + 1, row[k - 1] + 1, changed);
        }
    }
    return row[m];
}

const char *pp_nearest(const char *word, const char *const *known, int32_t known_count) {
    const char *best = NULL;
    int32_t best_distance = 0;
    for (int32_t i = 0; i < known_count; i++) {
        int32_t d = pp_word_distance(word, known[i]);
        if (best == NULL || d < best_distance) {
            best = known[i];
            best_distance = d;
        }
    }
    if (best == NULL) {
        return NULL;
    }
    size_t longer = cut_length(word) > cut_length(best) ? cut_length(word) : cut_length(best);
    return (size_t)best_distance * 3 <= longer ? best : NULL;
}
