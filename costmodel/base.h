/**
 * @file base.h
 * What every module stands on: status codes, the error record, checked integer arithmetic,
 * rounding.
 *
 * Every function that can fail returns an `enum pp_status` and takes a `struct pp_err *` last,
 * which may be NULL. The first function that knows the cause fills it in (what was found, where,
 * what was expected, what to do); callers pass the status on untouched. Outputs are written only on
 * success. Needs only libc, so that the executor builds on a bare GPU machine. No global state.
 */
#ifndef PP_COSTMODEL_BASE_H
#define PP_COSTMODEL_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* status, the stable code shown to users, what it means */
#define PP_STATUS_LIST(X)                                                                          \
    X(PP_OK, "OK", "fine")                                                                         \
    X(PP_E_ARG, "E_ARG", "invalid argument (a bug in the caller)")                                 \
    X(PP_E_NOMEM, "E_NOMEM", "out of memory")                                                      \
    X(PP_E_USAGE, "E_USAGE", "unknown or missing flag, or a value that does not parse")            \
    X(PP_E_RANGE, "E_RANGE", "value out of range")                                                 \
    X(PP_E_FILE, "E_FILE", "file cannot be read")                                                  \
    X(PP_E_SYNTAX, "E_SYNTAX", "file is not well-formed")                                          \
    X(PP_E_TYPE, "E_TYPE", "key has the wrong type")                                               \
    X(PP_E_KEY, "E_KEY", "unknown or missing key")                                                 \
    X(PP_E_VALUE, "E_VALUE", "value is not one of those accepted")                                 \
    X(PP_E_SCHEDULE, "E_SCHEDULE", "unknown schedule name")                                        \
    X(PP_E_MICROBATCH, "E_MICROBATCH", "microbatch count the schedule does not take")              \
    X(PP_E_STAGES, "E_STAGES", "stages a rank the schedule does not take")                         \
    X(PP_E_BATCH, "E_BATCH", "batch sizes do not divide")                                          \
    X(PP_E_WORLD, "E_WORLD", "GPU count does not match the parallel sizes")                        \
    X(PP_E_NODIV, "E_NODIV", "virtual stages not divisible by pp and no rounding chosen")          \
    X(PP_E_SINGLE, "E_SINGLE", "single-stage schedule needs exactly one stage a rank")             \
    X(PP_E_MULTI, "E_MULTI", "multi-stage schedule needs at least two stages a rank")              \
    X(PP_E_ROUND, "E_ROUND", "rounding is neither up nor down")                                    \
    X(PP_E_SPLIT, "E_SPLIT", "more stages than layers, or none")                                   \
    X(PP_E_PLACEMENT, "E_PLACEMENT", "stages cannot be placed on the ranks this way")              \
    X(PP_E_FQN, "E_FQN", "module list does not cover the model once, in order")                    \
    X(PP_E_PIPELINE, "E_PIPELINE", "pipeline settings that the framework refuses")                 \
    X(PP_E_NO_SHAPE, "E_NO_SHAPE", "model shape unknown")                                          \
    X(PP_E_MODEL, "E_MODEL", "model configuration not usable")                                     \
    X(PP_E_HARDWARE, "E_HARDWARE", "unknown hardware")                                             \
    X(PP_E_CSV, "E_CSV", "schedule file not valid")                                                \
    X(PP_E_DEADLOCK, "E_DEADLOCK", "schedule cannot make progress")                                \
    X(PP_E_CHECK, "E_CHECK", "schedule file fails its check")                                      \
    X(PP_E_LIMIT, "E_LIMIT", "above the memory limit")                                             \
    X(PP_E_NO_FIT, "E_NO_FIT", "nothing fits")                                                     \
    X(PP_E_NOT_FOUND, "E_NOT_FOUND", "no such record")                                             \
    X(PP_E_STORE, "E_STORE", "database cannot be used")                                            \
    X(PP_E_ENV, "E_ENV", "the environment lacks something")                                        \
    X(PP_E_IO, "E_IO", "output cannot be written")                                                 \
    X(PP_E_RUN, "E_RUN", "a run on real processes failed")                                         \
    X(PP_E_INTERRUPTED, "E_INTERRUPTED", "interrupted")

enum pp_status {
#define PP_STATUS_ENUM(name, code, text) name,
    PP_STATUS_LIST(PP_STATUS_ENUM)
#undef PP_STATUS_ENUM
        PP_STATUS_COUNT
};

enum { PP_ERR_MESSAGE_BYTES = 768, PP_ERR_HINT_BYTES = 384, PP_ERR_PLACE_BYTES = 256 };

/** What went wrong. Filled by pp_fail; zero-initialise before use. */
struct pp_err {
    enum pp_status status;
    char message[PP_ERR_MESSAGE_BYTES]; /* what was found and what was expected, one line */
    char hint[PP_ERR_HINT_BYTES];       /* what to do; may be empty */
    char file[PP_ERR_PLACE_BYTES];      /* input file; empty if none */
    int32_t line;                       /* 1-based; 0 unknown */
    int32_t column;                     /* 1-based; 0 unknown */
};

/** The stable code of a status, such as "E_NODIV". Never NULL. */
const char *pp_status_code(enum pp_status status);

/**
 * Records an error and returns `status`, so that `return pp_fail(err, ...)` is one line. What the
 * message quotes may be any bytes: it becomes one line of valid UTF-8 (utf8.h), hints too.
 * Clears hint and place. `err` may be NULL. Cost: O(message).
 */
enum pp_status pp_fail(struct pp_err *err, enum pp_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/** Adds advice to an error that pp_fail recorded. Returns nothing: without `err` it could not know
 *  what failed. */
void pp_hint(struct pp_err *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/** Adds the place: `file` may be NULL (left as it is); line and column are 1-based, 0 = unknown. */
void pp_err_place(struct pp_err *err, const char *file, int32_t line, int32_t column);

/** Passes a failure on: returns from the calling function unless `call` gives PP_OK. */
#define PP_TRY(call)                                                                               \
    do {                                                                                           \
        enum pp_status pp_try_status = (call);                                                     \
        if (pp_try_status != PP_OK) {                                                              \
            return pp_try_status;                                                                  \
        }                                                                                          \
    } while (0)

/** Asserts our own invariants, in every build. Never used on input. */
#define PP_ASSERT(cond) ((cond) ? (void)0 : pp_assert_failed(#cond, __FILE__, __LINE__))
_Noreturn void pp_assert_failed(const char *cond, const char *file, int line);

/** a * b, a + b. @return false on overflow (r_p untouched then). */
bool pp_mul_i64(int64_t a, int64_t b, int64_t *r_p);
bool pp_add_i64(int64_t a, int64_t b, int64_t *r_p);

static inline int64_t pp_max_i64(int64_t a, int64_t b) {
    return a > b ? a : b;
}
static inline int64_t pp_min_i64(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/** Greatest common divisor. a, b >= 0, not both 0. */
int64_t pp_gcd_i64(int64_t a, int64_t b);

/** a / b to nearest, halves up. a >= 0, b > 0. */
int64_t pp_div_round_i64(int64_t a, int64_t b);

/** a / b rounded up. a >= 0, b > 0. */
int64_t pp_div_ceil_i64(int64_t a, int64_t b);

/** The one place where a cost formula's double becomes an integer: to nearest, clamped to
 *  [0, INT64_MAX / 4]; NaN gives 0. */
int64_t pp_round_i64(double x);

/** ASCII letters in lower case, all else as it is; independent of the locale. */
char pp_lower(char c);

/** Comparison that ignores the case of ASCII letters. */
bool pp_equal_nocase(const char *a, const char *b);

/** Copies at most size-1 bytes, no UTF-8 character in part, and always terminates.
 *  @return false if `src` was cut. */
bool pp_copy(char *dst, size_t size, const char *src);

/** SHA-256 (FIPS 180-4) of `size` bytes as 64 lower-case hex digits and a zero. Content ids only.
 */
void pp_sha256_hex(const void *data, size_t size, char hex[65]);

/** The same in pieces: begin, add any number of times, end. */
struct pp_sha256 {
    uint32_t state[8];
    uint64_t size;           /* bytes added */
    unsigned char block[64]; /* the last size % 64 of them */
};
void pp_sha256_begin(struct pp_sha256 *h);
void pp_sha256_add(struct pp_sha256 *h, const void *data, size_t size);
void pp_sha256_end(struct pp_sha256 *h, char hex[65]);

/** A byte string that grows. Zero-initialised is empty; free with pp_text_free. */
struct pp_text {
    char *bytes; /* zero-terminated once anything was added; NULL before */
    size_t size; /* without the zero */
    size_t capacity;
    bool failed; /* an addition ran out of memory; later additions do nothing */
};

/** Appends. Out of memory only sets `failed`, so that writers check once, at the end. */
void pp_text_add(struct pp_text *t, const char *bytes, size_t size);
void pp_text_puts(struct pp_text *t, const char *s);
void pp_text_printf(struct pp_text *t, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void pp_text_free(struct pp_text *t);

/**
 * Reads a whole file into fresh memory (free it with free()), zero-terminated.
 * @param max_bytes  refuse larger files
 * @return PP_OK, PP_E_FILE (missing, a directory, unreadable, too large), PP_E_NOMEM,
 *         PP_E_INTERRUPTED (by a signal, while it waited for bytes)
 */
enum pp_status pp_read_file(const char *path, int64_t max_bytes, char **text_p, size_t *size_p,
                            struct pp_err *err);

#endif
