#include "reports/cli/cli.h"

#include "costmodel/nearest.h"
#include "costmodel/value.h"

#include <string.h>

/* @param size  of the flag's name in `arg`, before any '=' */
static enum pp_status unknown_flag(const struct pp_usage *usage, const char *arg, size_t size,
                                   struct pp_err *err) {
    char name[64];
    pp_copy(name, size < sizeof name ? size + 1 : sizeof name, arg);
    const char *nearest = NULL;
    int32_t best = 4; /* further away is no typing mistake */
    for (int32_t i = 0; i < usage->option_count; i++) {
        int32_t d = pp_word_distance(name, usage->options[i].name);
        if (d < best && usage->options[i].kind != PP_OPT_HEADING) {
            best = d;
            nearest = usage->options[i].name;
        }
    }
    pp_fail(err, PP_E_USAGE, "unknown flag %s", name);
    if (nearest != NULL) {
        pp_hint(err, "did you mean %s?", nearest);
    } else {
        pp_hint(err, "usage: %s", usage->synopsis);
    }
    return PP_E_USAGE;
}

static enum pp_status set_value(const struct pp_option *o, const char *text, struct pp_err *err) {
    int64_t number = 0;
    int64_t ratio[2] = {0, 1};
    enum pp_status status = PP_OK;
    switch (o->kind) {
    case PP_OPT_HEADING:
        return PP_OK;
    case PP_OPT_FLAG:
        *(bool *)o->value = true;
        return PP_OK;
    case PP_OPT_TEXT:
        *(const char **)o->value = text;
        return PP_OK;
    case PP_OPT_LIST: {
        struct pp_option_list *list = o->value;
        if (list->count == PP_OPTION_LIST_MAX) {
            return pp_fail(err, PP_E_USAGE, "%s given more than %d times", o->name,
                           PP_OPTION_LIST_MAX);
        }
        list->items[list->count++] = text;
        return PP_OK;
    }
    case PP_OPT_INT:
        status = pp_parse_int(text, o->low, o->high, &number, err);
        break;
    case PP_OPT_DURATION:
        status = pp_parse_duration_ns(text, &number, err);
        break;
    case PP_OPT_RATIO:
        status = pp_parse_ratio(text, &ratio[0], &ratio[1], err);
        break;
    case PP_OPT_BYTES:
        status = pp_parse_bytes(text, &number, err);
        if (status == PP_OK && number > o->high) {
            status =
                pp_fail(err, PP_E_RANGE, "%.60s is more than %lld bytes", text, (long long)o->high);
        }
        break;
    case PP_OPT_RATE:
        status = pp_parse_bandwidth(text, &number, err);
        break;
    }
    if (status != PP_OK) { /* say which flag the value belongs to */
        char why[PP_ERR_MESSAGE_BYTES];
        pp_copy(why, sizeof why, err == NULL ? "" : err->message);
        return pp_fail(err, status, "%s: %.600s", o->name, why);
    }
    if (o->kind == PP_OPT_RATIO) {
        memcpy(o->value, ratio, sizeof ratio);
    } else {
        *(int64_t *)o->value = number;
    }
    return PP_OK;
}

static const struct pp_option *find_option(const struct pp_usage *usage, const char *arg,
                                           size_t size) {
    for (int32_t i = 0; i < usage->option_count; i++) {
        const char *name = usage->options[i].name;
        if (strlen(name) == size && memcmp(name, arg, size) == 0) {
            return &usage->options[i];
        }
    }
    return NULL;
}

/* No value begins with two dashes, but for a setting pasted as an override: --set --key=value. */
static bool is_flag(const struct pp_option *o, const char *arg) {
    return strncmp(arg, "--", 2) == 0 && !(o->kind == PP_OPT_LIST && strchr(arg, '=') != NULL);
}

/* One `--flag`: *at_p moves on if its value is the next argument. */
static enum pp_status take_flag(const struct pp_usage *usage, int argc, char **argv, int *at_p,
                                struct pp_err *err) {
    const char *arg = argv[*at_p];
    const char *equals = strchr(arg, '=');
    size_t size = equals == NULL ? strlen(arg) : (size_t)(equals - arg);
    const struct pp_option *o = find_option(usage, arg, size);
    if (o == NULL) {
        return unknown_flag(usage, arg, size, err);
    }
    const char *value = equals == NULL ? NULL : equals + 1;
    if (o->kind == PP_OPT_FLAG && value != NULL) {
        return pp_fail(err, PP_E_USAGE, "%s takes no value, found \"%.60s\"", o->name, value);
    }
    if (o->kind != PP_OPT_FLAG && value == NULL) {
        if (*at_p + 1 >= argc || is_flag(o, argv[*at_p + 1])) {
            pp_fail(err, PP_E_USAGE, "%s needs a value: %s", o->name, o->what);
            pp_hint(err, "usage: %s", usage->synopsis);
            return PP_E_USAGE;
        }
        value = argv[++*at_p];
    }
    PP_TRY(set_value(o, value, err));
    if (o->given_p != NULL) {
        *o->given_p = true;
    }
    return PP_OK;
}

static void print_help(const struct pp_cli *cli, const struct pp_usage *usage) {
    fprintf(cli->out, "%s\n\n%s\n\n", usage->synopsis, usage->about);
    for (int32_t i = 0; i < usage->option_count; i++) {
        const struct pp_option *o = &usage->options[i];
        if (o->kind == PP_OPT_HEADING) {
            fprintf(cli->out, "\n%s\n", o->help);
            continue;
        }
        char left[64];
        snprintf(left, sizeof left, "%s%s%s", o->name, o->kind == PP_OPT_FLAG ? "" : " ",
                 o->kind == PP_OPT_FLAG ? "" : o->what);
        fprintf(cli->out, "  %-26s %s\n", left, o->help);
    }
    fprintf(cli->out, "  %-26s %s\n\nexample: %s\n", "--json", "print one JSON document",
            usage->example);
}

enum pp_status pp_parse_options(struct pp_cli *cli, const struct pp_usage *usage, int argc,
                                char **argv, const char **positional, int32_t positional_max,
                                int32_t *count_p, bool *helped_p, struct pp_err *err) {
    int32_t count = 0;
    *helped_p = false;
    for (int i = 1; i < argc; i++) { /* before any complaint, so that errors are JSON, too */
        cli->json = cli->json || strcmp(argv[i], "--json") == 0;
    }
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            print_help(cli, usage);
            *helped_p = true;
            return PP_OK;
        }
        if (strcmp(argv[i], "--json") == 0) {
            continue;
        }
        if (argv[i][0] == '-' && argv[i][1] != '\0') {
            PP_TRY(take_flag(usage, argc, argv, &i, err));
            continue;
        }
        if (count == positional_max) {
            pp_fail(err, PP_E_USAGE, "unexpected argument \"%.60s\"", argv[i]);
            pp_hint(err, "usage: %s", usage->synopsis);
            return PP_E_USAGE;
        }
        positional[count++] = argv[i];
    }
    *count_p = count;
    return PP_OK;
}

enum pp_status pp_need_option(bool given, const char *name, const struct pp_usage *usage,
                              struct pp_err *err) {
    if (given) {
        return PP_OK;
    }
    pp_fail(err, PP_E_USAGE, "missing %s", name);
    pp_hint(err, "usage: %s", usage->synopsis);
    return PP_E_USAGE;
}
