/* Numbers with units, as our own command line takes them. */
#include "costmodel/value.h"

#include <string.h>

enum { MAX_FRACTION_DIGITS = 18, SHOWN_BYTES = 60 };
static const int64_t max_quantity = INT64_C(1) << 53; /* exact in JSON readers that use doubles */

/* A decimal number as written: whole + fraction / 10^fraction_digits. */
struct decimal {
    bool negative;
    bool huge; /* the whole part does not fit; it is then INT64_MAX */
    int64_t whole;
    int64_t fraction;
    int32_t fraction_digits; /* at most MAX_FRACTION_DIGITS; further digits are dropped: with every
                                unit of ours they cannot move a rounding */
    bool dropped;            /* a digit other than 0 was dropped */
    bool has_point;
    const char *rest; /* first byte after the number */
};

struct unit {
    const char *suffix;
    int64_t num, den; /* one unit is num / den of the base */
};

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

/* One more decimal digit; false if the number left int64. */
static bool append_digit(int64_t *number, char digit) {
    int64_t ten;
    int64_t next;
    if (!pp_mul_i64(*number, 10, &ten) || !pp_add_i64(ten, digit - '0', &next)) {
        return false;
    }
    *number = next;
    return true;
}

/* Reads [+-] digits [. digits]; at least one digit. */
static bool parse_decimal(const char *text, struct decimal *d) {
    *d = (struct decimal){0};
    const char *p = text;
    if (*p == '+' || *p == '-') {
        d->negative = *p++ == '-';
    }
    bool any = false;
    for (; is_digit(*p); p++) {
        any = true;
        d->huge = d->huge || !append_digit(&d->whole, *p);
    }
    if (d->huge) {
        d->whole = INT64_MAX;
    }
    if (*p == '.') {
        d->has_point = true;
        for (p++; is_digit(*p); p++) {
            any = true;
            if (d->fraction_digits < MAX_FRACTION_DIGITS) {
                append_digit(&d->fraction, *p);
                d->fraction_digits++;
            } else {
                d->dropped = d->dropped || *p != '0';
            }
        }
    }
    d->rest = p;
    return any;
}

static int64_t power_of_ten(int32_t exponent) {
    int64_t power = 1;
    for (int32_t i = 0; i < exponent; i++) {
        power *= 10;
    }
    return power;
}

/* round(d * num / den); false above max_quantity. The sign is the caller's business. */
static bool scale(const struct decimal *d, int64_t num, int64_t den, int64_t *value_p) {
    int64_t whole;
    int64_t bound;
    if (d->huge || !pp_mul_i64(max_quantity, den, &bound) || !pp_mul_i64(d->whole, num, &whole) ||
        whole > bound) {
        return false;
    }
    /* 128 bits hold 2^56 * 10^18 with room to spare */
    const __int128 ten = power_of_ten(d->fraction_digits);
    __int128 top = (__int128)whole * ten + (__int128)d->fraction * num;
    __int128 bottom = ten * den;
    __int128 rounded = (2 * top + bottom) / (2 * bottom);
    if (rounded > max_quantity) {
        return false;
    }
    *value_p = (int64_t)rounded;
    return true;
}

static enum pp_status parse_quantity(const char *text, const struct unit *units, const char *what,
                                     const char *example, int64_t *value_p, struct pp_err *err) {
    struct decimal d;
    const struct unit *unit = NULL;
    if (parse_decimal(text, &d)) {
        for (unit = units; unit->suffix != NULL && strcmp(unit->suffix, d.rest) != 0; unit++) {
        }
    }
    if (unit == NULL || unit->suffix == NULL) {
        return pp_fail(err, PP_E_USAGE, "'%.*s' is not a %s; expected %s", SHOWN_BYTES, text, what,
                       example);
    }
    bool zero = d.whole == 0 && d.fraction == 0 && !d.dropped;
    if (d.negative && !zero) {
        return pp_fail(err, PP_E_RANGE, "'%.*s' is negative; a %s is 0 or more", SHOWN_BYTES, text,
                       what);
    }
    int64_t value = 0;
    if (!scale(&d, unit->num, unit->den, &value)) {
        return pp_fail(err, PP_E_RANGE, "'%.*s' is too large for a %s", SHOWN_BYTES, text, what);
    }
    *value_p = value;
    return PP_OK;
}

enum pp_status pp_parse_duration_ns(const char *text, int64_t *ns_p, struct pp_err *err) {
    static const struct unit units[] = {
        {"", 1000, 1},      {"ns", 1, 1},          {"us", 1000, 1},
        {"ms", 1000000, 1}, {"s", 1000000000L, 1}, {NULL, 0, 0},
    };
    return parse_quantity(text, units, "duration",
                          "a number with ns, us, ms or s (bare: us), such as 1.5ms", ns_p, err);
}

#define KI INT64_C(1024)
#define K INT64_C(1000)

enum pp_status pp_parse_bytes(const char *text, int64_t *bytes_p, struct pp_err *err) {
    static const struct unit units[] = {
        {"", 1, 1},
        {"B", 1, 1},
        {"KiB", KI, 1},
        {"MiB", KI * KI, 1},
        {"GiB", KI * KI * KI, 1},
        {"TiB", KI * KI * KI * KI, 1},
        {"KB", K, 1},
        {"MB", K * K, 1},
        {"GB", K * K * K, 1},
        {"TB", K * K * K * K, 1},
        {NULL, 0, 0},
    };
    return parse_quantity(text, units, "size",
                          "a number with B, KiB, MiB, GiB, TiB, KB, MB, GB or TB (bare: bytes), "
                          "such as 80GiB",
                          bytes_p, err);
}

enum pp_status pp_parse_bandwidth(const char *text, int64_t *bytes_per_s_p, struct pp_err *err) {
    static const struct unit units[] = {
        {"B/s", 1, 1},
        {"KB/s", K, 1},
        {"MB/s", K * K, 1},
        {"GB/s", K * K * K, 1},
        {"TB/s", K * K * K * K, 1},
        {"KiB/s", KI, 1},
        {"MiB/s", KI * KI, 1},
        {"GiB/s", KI * KI * KI, 1},
        {"TiB/s", KI * KI * KI * KI, 1},
        {"b/s", 1, 8},
        {"Kb/s", K, 8},
        {"Mb/s", K * K, 8},
        {"Gb/s", K * K * K, 8},
        {"Tb/s", K * K * K * K, 8},
        {NULL, 0, 0},
    };
    return parse_quantity(text, units, "bandwidth",
                          "a number with its unit, such as 900GB/s (bytes) or 400Gb/s (bits)",
                          bytes_per_s_p, err);
}

enum pp_status pp_parse_int(const char *text, int64_t low, int64_t high, int64_t *value_p,
                            struct pp_err *err) {
    struct decimal d;
    if (!parse_decimal(text, &d) || d.has_point || *d.rest != '\0') {
        return pp_fail(err, PP_E_USAGE, "'%.*s' is not a whole number", SHOWN_BYTES, text);
    }
    int64_t value = d.negative ? -d.whole : d.whole;
    if (d.huge || value < low || value > high) {
        return pp_fail(err, PP_E_RANGE, "'%.*s' is out of range; expected %lld to %lld",
                       SHOWN_BYTES, text, (long long)low, (long long)high);
    }
    *value_p = value;
    return PP_OK;
}

static bool is_end(const struct decimal *d) {
    return *d->rest == '\0';
}

/* num / den of "a/b" or of a decimal, not reduced. */
static enum pp_status split_ratio(const char *text, int64_t *num_p, int64_t *den_p,
                                  struct pp_err *err) {
    struct decimal a;
    struct decimal b = {.whole = 1, .rest = ""};
    bool parsed = parse_decimal(text, &a);
    if (parsed && *a.rest == '/') {
        parsed = !a.has_point && parse_decimal(a.rest + 1, &b) && !b.has_point && is_end(&b);
    } else {
        parsed = parsed && is_end(&a);
    }
    if (!parsed) {
        return pp_fail(err, PP_E_USAGE, "'%.*s' is not a ratio; expected 3, 1.5 or 17/33",
                       SHOWN_BYTES, text);
    }
    if (a.negative || b.negative) {
        return pp_fail(err, PP_E_RANGE, "'%.*s' is negative; a ratio is 0 or more", SHOWN_BYTES,
                       text);
    }
    if (b.whole == 0) {
        return pp_fail(err, PP_E_RANGE, "'%.*s' divides by zero", SHOWN_BYTES, text);
    }
    int64_t ten = power_of_ten(a.fraction_digits);
    int64_t scaled = 0;
    int64_t num = 0;
    if (a.huge || b.huge || a.dropped || !pp_mul_i64(a.whole, ten, &scaled) ||
        !pp_add_i64(scaled, a.fraction, &num)) {
        return pp_fail(err, PP_E_RANGE, "'%.*s' has too many digits for a ratio", SHOWN_BYTES,
                       text);
    }
    *num_p = num;
    *den_p = b.whole * ten; /* one of the two is 1 */
    return PP_OK;
}

enum pp_status pp_parse_ratio(const char *text, int64_t *num_p, int64_t *den_p,
                              struct pp_err *err) {
    const int64_t limit = 1000000000;
    int64_t num = 0;
    int64_t den = 0;
    PP_TRY(split_ratio(text, &num, &den, err));
    int64_t divisor = pp_gcd_i64(num, den);
    num /= divisor;
    den /= divisor;
    if (num > limit || den > limit) {
        pp_fail(err, PP_E_RANGE, "'%.*s' needs more than 9 digits as a fraction", SHOWN_BYTES,
                text);
        pp_hint(err, "write it as a/b with both at most 1000000000");
        return PP_E_RANGE;
    }
    *num_p = num;
    *den_p = den;
    return PP_OK;
}
