/* What the cases of the kernel suite are written with. A tensor lives on the device; `at` keeps in
 * float64 what was uploaded, rounded to what the device holds. Behind every tensor lies a guard
 * that nothing may touch. All tensors of a case go at its end. */
#ifndef PP_TESTS_KERNEL_HARNESS_H
#define PP_TESTS_KERNEL_HARNESS_H

#include "tests/exec/kernel_suite.h"

enum tensor_type { ACT, FLOAT, DOUBLE, INT };

struct tensor {
    struct tensor *next;
    enum tensor_type type;
    int64_t count, bytes;
    void *device;
    double *at;          /* [count] as uploaded */
    unsigned char *bits; /* [bytes], as uploaded */
    bool output;         /* kernels may write it */
};

struct suite {
    const struct pp_device_ops *ops;
    void *context;
    double tolerance;
    uint64_t random;
    uint64_t digest; /* of every result of the case */
    const char *group;
    char name[128]; /* of the case */
    struct tensor *tensors;
    struct kernel_counts counts;
};

/* A case is run twice: its results must be the same bits. */
void run_case(struct suite *s, void (*body)(struct suite *s, const void *what), const void *what,
              const char *format, ...) __attribute__((format(printf, 4, 5)));

/* Roughly normal, times `scale`. */
struct tensor *random_input(struct suite *s, enum tensor_type type, int64_t count, double scale);
/* The values given. */
struct tensor *input(struct suite *s, enum tensor_type type, int64_t count, const double *values);
/* Integers in [0, below). */
struct tensor *random_ids(struct suite *s, int64_t count, int64_t below);
/* NaN everywhere. */
struct tensor *poisoned(struct suite *s, enum tensor_type type, int64_t count);
/* Random, and to be written: what kernels add to. */
struct tensor *random_start(struct suite *s, enum tensor_type type, int64_t count);
/* To be written in place. */
struct tensor *in_place(struct tensor *t);

/* Uniform in [0, 1). */
double uniform(struct suite *s);
/* Zeros of the harness, gone at the end of the case. */
double *scratch(struct suite *s, int64_t count);
int32_t *ints_of(struct suite *s, const struct tensor *t);

void check(struct suite *s, bool ok, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* The tensor as it is now, in fresh scratch. */
double *download(struct suite *s, const struct tensor *t);
/* Within the suite's tolerance, all finite, and nothing written behind it. */
void check_close(struct suite *s, const char *what, const struct tensor *t, const double *expected);
void check_close_by(struct suite *s, const char *what, const struct tensor *t,
                    const double *expected, double tolerance);

/* The groups. */
void kernel_cases_dense(struct suite *s);
void kernel_cases_attention(struct suite *s);
void kernel_cases_moe(struct suite *s);

#endif
