/* What the benchmarks share: clocks, medians, and an end with the error where something fails. */
#ifndef PP_TESTS_BENCH_H
#define PP_TESTS_BENCH_H

#include "costmodel/base.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* Every figure is the median of RUNS, after WARM_UP that do not count. */
enum { NS_PER_S = 1000000000, RUNS = 15, WARM_UP = 3 };

static inline int64_t clock_ns(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * NS_PER_S + t.tv_nsec;
}

/* Of all threads of the process. */
static inline int64_t cpu_ns(void) {
    return clock_ns(CLOCK_PROCESS_CPUTIME_ID);
}

static inline int compare_ns(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Sorts them. */
static inline int64_t median_of(int64_t *ns, int count) {
    qsort(ns, (size_t)count, sizeof ns[0], compare_ns);
    return ns[count / 2];
}

static inline void must(enum pp_status status, const struct pp_err *err) {
    if (status != PP_OK) {
        fprintf(stderr, "%s: %s\n", pp_status_code(status), err->message);
        exit(1);
    }
}

/* What a benchmark measures; each defines its own. */
struct subject;

/* Median CPU time of one `work`, ns; a run is `repeats` of them, so that it lasts a while. */
static inline double median_ns(struct subject *x, void (*work)(struct subject *x),
                               int32_t repeats) {
    int64_t took[RUNS];
    for (int run = -WARM_UP; run < RUNS; run++) {
        int64_t begin = cpu_ns();
        for (int32_t i = 0; i < repeats; i++) {
            work(x);
        }
        if (run >= 0) {
            took[run] = cpu_ns() - begin;
        }
    }
    return (double)median_of(took, RUNS) / repeats;
}

/* The same for an action, where each `work` takes so many of them: a run covers some 400,000. */
static inline double ns_an_action(struct subject *x, void (*work)(struct subject *x),
                                  int32_t actions) {
    return median_ns(x, work, 1 + 400000 / actions) / actions;
}

#endif
