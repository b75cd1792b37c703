/**
 * @file value.h
 * Values given as text: Automodel's command-line rules for `--dotted.key value`, and the units of
 * our own command line. Pure functions; none of them trims blanks or reads the locale.
 */
#ifndef PP_COSTMODEL_VALUE_H
#define PP_COSTMODEL_VALUE_H

#include "costmodel/base.h"

enum pp_value_kind {
    PP_VALUE_NONE,
    PP_VALUE_BOOL,
    PP_VALUE_INT,
    PP_VALUE_FLOAT,
    PP_VALUE_STRING,
    PP_VALUE_COMPOUND, /* a Python list, tuple or dict literal; kept as text */
};

struct pp_value {
    enum pp_value_kind kind;
    bool boolean;
    bool huge;        /* INT beyond int64: `integer` is the nearest end of int64 */
    int64_t integer;  /* INT */
    double real;      /* FLOAT and INT */
    const char *text; /* STRING, COMPOUND: points into the input, quotes left out, escape
                         sequences as they are */
    size_t size;
};

/**
 * Automodel's translate_value: none/None, true/True, false/False as words, else what Python's
 * literal_eval makes of it (integers with sign, 0x/0o/0b, underscores; floats; quoted strings;
 * lists, tuples, dicts), else the text itself. "1f1b" stays a string, "1e-8" is a float, "1e999"
 * is the float infinity, "nan" and "inf" are strings. Texts above 1000 bytes are strings.
 * Cost: O(length).
 */
struct pp_value pp_value_translate(const char *text);

/** "12", "12us", "1.5ms" -> ns; a bare number is microseconds. Suffixes ns us ms s; exact decimal
 *  arithmetic, rounded to the nearest ns, halves up. No exponents.
 *  @return PP_OK, PP_E_USAGE (does not parse), PP_E_RANGE (negative, above 2^53 ns) */
enum pp_status pp_parse_duration_ns(const char *text, int64_t *ns_p, struct pp_err *err);

/** "80GiB" -> bytes; suffixes B KiB MiB GiB TiB KB MB GB TB, bare = bytes. At most 2^53.
 *  @return as above */
enum pp_status pp_parse_bytes(const char *text, int64_t *bytes_p, struct pp_err *err);

/** "900GB/s", "400Gb/s" -> bytes per second; B and b (bits) with K M G T, B also with Ki Mi Gi Ti.
 *  The unit must be given: nobody agrees on a bare one. @return as above */
enum pp_status pp_parse_bandwidth(const char *text, int64_t *bytes_per_s_p, struct pp_err *err);

/** Whole decimal number in [low, high]. @return PP_OK, PP_E_USAGE (no number), PP_E_RANGE */
enum pp_status pp_parse_int(const char *text, int64_t low, int64_t high, int64_t *value_p,
                            struct pp_err *err);

/** "3", "1.5", "17/33" as an exact non-negative fraction with num, den <= 10^9, reduced.
 *  @return PP_OK, PP_E_USAGE, PP_E_RANGE (negative, zero denominator, too many digits) */
enum pp_status pp_parse_ratio(const char *text, int64_t *num_p, int64_t *den_p, struct pp_err *err);

#endif
