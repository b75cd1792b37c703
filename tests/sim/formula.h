/* The closed forms that `schedule --list` prints, read as arithmetic, so that a test can hold them
 * against the simulation: + - * /, parentheses, floor() ceil() min(,) max(,), numbers and variables
 * of one letter. A form may begin with "at most" or "about" and ends at " for ", where a condition
 * begins. */
#ifndef PP_TESTS_FORMULA_H
#define PP_TESTS_FORMULA_H

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct formula {
    const char *text, *at;
    double value[128]; /* by letter */
};

static inline double formula_sum(struct formula *f);

static inline void formula_blanks(struct formula *f) {
    f->at += strspn(f->at, " ");
}

static inline bool formula_take(struct formula *f, char c) {
    formula_blanks(f);
    if (*f->at != c) {
        return false;
    }
    f->at++;
    return true;
}

static inline double formula_call(struct formula *f, const char *name) {
    f->at += strlen(name);
    cr_assert(formula_take(f, '('), "%s", f->text);
    double a = formula_sum(f);
    double b = 0;
    if (formula_take(f, ',')) {
        b = formula_sum(f);
    }
    cr_assert(formula_take(f, ')'), "%s", f->text);
    return name[0] == 'f'             ? floor(a + 1e-9)
           : name[0] == 'c'           ? ceil(a - 1e-9)
           : strcmp(name, "min") == 0 ? fmin(a, b)
                                      : fmax(a, b);
}

static inline double formula_atom(struct formula *f) {
    static const char *const calls[] = {"floor", "ceil", "min", "max"};
    formula_blanks(f);
    if (formula_take(f, '(')) {
        double v = formula_sum(f);
        cr_assert(formula_take(f, ')'), "%s", f->text);
        return v;
    }
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        if (strncmp(f->at, calls[i], strlen(calls[i])) == 0) {
            return formula_call(f, calls[i]);
        }
    }
    if (strchr("pvmgsFIWBT", *f->at) != NULL && *f->at != '\0') {
        return f->value[(int)*f->at++];
    }
    char *end;
    double v = strtod(f->at, &end);
    cr_assert(end != f->at, "'%s' stops at '%s'", f->text, f->at);
    f->at = end;
    if (*f->at != '\0' && strchr("pvmgs", *f->at) != NULL) { /* "2p" */
        v *= f->value[(int)*f->at++];
    }
    return v;
}

static inline double formula_product(struct formula *f) {
    double v = formula_atom(f);
    for (;;) {
        if (formula_take(f, '*')) {
            v *= formula_atom(f);
        } else if (formula_take(f, '/')) {
            v /= formula_atom(f);
        } else {
            return v;
        }
    }
}

static inline double formula_sum(struct formula *f) {
    double v = formula_product(f);
    for (;;) {
        if (formula_take(f, '+')) {
            v += formula_product(f);
        } else if (formula_take(f, '-')) {
            v -= formula_product(f);
        } else {
            return v;
        }
    }
}

/* The value of a closed form; `f->value` has been filled. */
static inline double formula_of(struct formula *f, const char *text) {
    static const char *const limits[] = {"at most ", "about "};
    f->text = f->at = text;
    for (int i = 0; i < 2; i++) {
        f->at += strncmp(text, limits[i], strlen(limits[i])) == 0 ? strlen(limits[i]) : 0;
    }
    double v = formula_sum(f);
    formula_blanks(f);
    cr_assert(*f->at == '\0' || strncmp(f->at, "for ", 4) == 0, "'%s' stops at '%s'", text, f->at);
    return v;
}

#endif
