#include "costmodel/hardware.h"

#include "costmodel/embedded.h"
#include "costmodel/value.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { HARDWARE_MAX_BYTES = 1024 * 1024 };

enum field_kind { FIELD_INT64, FIELD_INT32, FIELD_DOUBLE };

/* One number of a machine file. Ranges keep every cost formula within doubles and int64. */
struct field {
    const char *key;
    enum field_kind kind;
    size_t offset;
    double low, high;
    double absent; /* value where the key is absent; negative: the key is needed */
};

#define FIELD(kind, member, low, high, absent)                                                     \
    { #member, kind, offsetof(struct pp_hardware, member), low, high, absent }
#define LINK_FIELD(key, member, low, high, absent)                                                 \
    { key, FIELD_INT64, offsetof(struct pp_hardware, member), low, high, absent }

static const struct field fields[] = {
    FIELD(FIELD_INT64, bf16_flops_per_s, 1e6, 1e18, -1),
    FIELD(FIELD_INT64, fp8_flops_per_s, 0, 1e18, 0),
    FIELD(FIELD_INT64, memory_bytes, 1e6, 1e15, -1),
    FIELD(FIELD_INT64, memory_bytes_per_s, 1e6, 1e16, -1),
    FIELD(FIELD_INT32, sm_count, 1, 1e6, -1),
    FIELD(FIELD_INT32, gpus_per_node, 1, 1e6, 8),
    LINK_FIELD("intra_node_bytes_per_s", intra_node.bytes_per_s, 1e3, 1e16, -1),
    LINK_FIELD("intra_node_latency_ns", intra_node.latency_ns, 0, 1e9, 5000),
    LINK_FIELD("inter_node_bytes_per_s", inter_node.bytes_per_s, 1e3, 1e16, -1),
    LINK_FIELD("inter_node_latency_ns", inter_node.latency_ns, 0, 1e9, 12000),
    FIELD(FIELD_DOUBLE, intra_link_efficiency, 0.001, 1, 0.75),
    FIELD(FIELD_DOUBLE, inter_link_efficiency, 0.001, 1, 0.9),
    FIELD(FIELD_INT64, collective_latency_ns, 0, 1e9, 30000),
    FIELD(FIELD_DOUBLE, gemm_efficiency, 0.001, 1, 0.68),
    FIELD(FIELD_DOUBLE, gemm_wave_share, 0, 1, 0.75),
    FIELD(FIELD_DOUBLE, gemm_duration_exponent, 0, 0.2, 0),
    FIELD(FIELD_DOUBLE, grouped_gemm_efficiency, 0.001, 1, 0.55),
    FIELD(FIELD_DOUBLE, grouped_gemm_half_tokens, 0, 1e6, 150),
    FIELD(FIELD_DOUBLE, attention_forward_efficiency, 0.001, 1, 0.55),
    FIELD(FIELD_DOUBLE, attention_backward_efficiency, 0.001, 1, 0.42),
    FIELD(FIELD_DOUBLE, attention_forward_ns_per_token, 0, 1e6, 9),
    FIELD(FIELD_DOUBLE, attention_backward_ns_per_token, 0, 1e6, 6),
    FIELD(FIELD_DOUBLE, memory_efficiency, 0.001, 1, 0.8),
    FIELD(FIELD_INT64, launch_ns, 0, 1e9, 2500),
    FIELD(FIELD_INT64, reserved_bytes, 0, 1e15, 1610612736),
    FIELD(FIELD_INT64, communicator_bytes, 0, 1e15, 570425344),
    FIELD(FIELD_DOUBLE, allocator_slack_frac, 0, 1, 0.09),
};
enum { FIELD_COUNT = sizeof fields / sizeof fields[0] };

static void store(struct pp_hardware *hw, const struct field *field, double value) {
    char *at = (char *)hw + field->offset;
    switch (field->kind) {
    case FIELD_INT64:
        *(int64_t *)(void *)at = pp_round_i64(value);
        break;
    case FIELD_INT32:
        *(int32_t *)(void *)at = (int32_t)pp_round_i64(value);
        break;
    case FIELD_DOUBLE:
        *(double *)(void *)at = value;
        break;
    }
}

static bool ends_with(const char *text, const char *end) {
    size_t n = strlen(text);
    size_t m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

/* A quantity with its unit, such as 80GiB, 400Gb/s or 5us; what the key's name ends in says of
 * what. */
static bool read_quantity(const char *key, const struct pp_node *node, double *value_p) {
    const char *text = pp_node_text(node);
    int64_t value = 0;
    enum pp_status status = PP_E_TYPE;
    if (text == NULL) {
        return false;
    }
    if (ends_with(key, "_bytes_per_s")) {
        status = pp_parse_bandwidth(text, &value, NULL);
    } else if (ends_with(key, "_bytes")) {
        status = pp_parse_bytes(text, &value, NULL);
    } else if (ends_with(key, "_ns")) {
        status = pp_parse_duration_ns(text, &value, NULL);
    }
    *value_p = (double)value;
    return status == PP_OK;
}

static enum pp_status read_field(const struct pp_doc *doc, const struct field *field,
                                 struct pp_hardware *hw, struct pp_err *err) {
    const struct pp_node *root = pp_doc_root(doc);
    const struct pp_node *node = pp_node_get(root, field->key);
    if (node == NULL && field->absent >= 0) {
        store(hw, field, field->absent);
        return PP_OK;
    }
    if (node != NULL && pp_node_kind(node) == PP_NODE_MAPPING) {
        node = pp_node_get(node, "value");
    }
    if (node == NULL) {
        return pp_node_fail(err, doc, root, PP_E_KEY, "%s is missing, expected a number",
                            field->key);
    }
    double value;
    if (!pp_node_get_float(node, &value) && !read_quantity(field->key, node, &value)) {
        return pp_node_fail(
            err, doc, node, PP_E_TYPE,
            "%s is %s, expected a number, or a quantity such as 80GiB, 400Gb/s, 5us", field->key,
            pp_node_kind_name(pp_node_kind(node)));
    }
    if (!(value >= field->low && value <= field->high)) {
        return pp_node_fail(err, doc, node, PP_E_RANGE, "%s is %g, expected %g to %g", field->key,
                            value, field->low, field->high);
    }
    store(hw, field, value);
    return PP_OK;
}

static bool is_known_key(const char *key) {
    for (int32_t i = 0; i < FIELD_COUNT; i++) {
        if (strcmp(fields[i].key, key) == 0) {
            return true;
        }
    }
    return strcmp(key, "name") == 0 || strcmp(key, "title") == 0 || strcmp(key, "source") == 0;
}

/** A misspelt key would silently leave a default in place. */
static enum pp_status check_keys(const struct pp_doc *doc, struct pp_err *err) {
    const struct pp_node *root = pp_doc_root(doc);
    if (pp_node_kind(root) != PP_NODE_MAPPING) {
        return pp_node_fail(err, doc, root, PP_E_TYPE,
                            "the hardware description is %s, expected a mapping",
                            pp_node_kind_name(pp_node_kind(root)));
    }
    for (int32_t i = 0; i < pp_node_count(root); i++) {
        const char *key = NULL;
        const struct pp_node *value = pp_node_pair(root, i, &key);
        if (key == NULL || !is_known_key(key)) {
            return pp_node_fail(err, doc, value, PP_E_KEY, "unknown hardware key %.80s",
                                key != NULL ? key : "(not a string)");
        }
    }
    return PP_OK;
}

static void read_text(const struct pp_doc *doc, const char *key, char *dst, size_t size) {
    const struct pp_node *node = pp_node_get(pp_doc_root(doc), key);
    const char *text = node != NULL ? pp_node_text(node) : NULL;
    if (text != NULL) {
        pp_copy(dst, size, text);
    }
}

static enum pp_status read_machine(const struct pp_doc *doc, const char *name,
                                   struct pp_hardware *hw_p, struct pp_err *err) {
    struct pp_hardware hw = {0};
    PP_TRY(check_keys(doc, err));
    for (int32_t i = 0; i < FIELD_COUNT; i++) {
        PP_TRY(read_field(doc, &fields[i], &hw, err));
    }
    pp_copy(hw.name, sizeof hw.name, name);
    read_text(doc, "name", hw.name, sizeof hw.name);
    read_text(doc, "title", hw.title, sizeof hw.title);
    read_text(doc, "source", hw.source, sizeof hw.source);
    *hw_p = hw;
    return PP_OK;
}

enum pp_status pp_hardware_parse(const char *name, const char *text, size_t size,
                                 struct pp_hardware *hw_p, struct pp_err *err) {
    struct pp_doc *doc = NULL;
    PP_TRY(pp_doc_parse(name, text, size, &doc, err));
    enum pp_status status = read_machine(doc, name, hw_p, err);
    pp_doc_destroy(doc);
    return status;
}

static enum pp_status fail_unknown(const char *name, struct pp_err *err) {
    struct pp_text names = {0};
    for (const struct pp_embedded_file *f = pp_embedded_hardware; f->name != NULL; f++) {
        pp_text_printf(&names, "%s%s", names.size > 0 ? ", " : "", f->name);
    }
    pp_fail(err, PP_E_HARDWARE, "no hardware named '%.120s', and no such file", name);
    pp_hint(err, "use one of %s, or the path of a file in the same form",
            names.bytes != NULL ? names.bytes : "");
    pp_text_free(&names);
    return PP_E_HARDWARE;
}

enum pp_status pp_hardware_text(const char *name_or_path, char **text_p, size_t *size_p,
                                struct pp_err *err) {
    for (const struct pp_embedded_file *f = pp_embedded_hardware; f->name != NULL; f++) {
        if (pp_equal_nocase(f->name, name_or_path)) {
            char *text = strdup(f->text);
            if (text == NULL) {
                return pp_fail(err, PP_E_NOMEM, "out of memory reading hardware %s", f->name);
            }
            *text_p = text;
            *size_p = strlen(text);
            return PP_OK;
        }
    }
    struct stat st;
    if (stat(name_or_path, &st) != 0) {
        return fail_unknown(name_or_path, err);
    }
    return pp_read_file(name_or_path, HARDWARE_MAX_BYTES, text_p, size_p, err);
}

enum pp_status pp_hardware_load(const char *name_or_path, struct pp_hardware *hw_p,
                                struct pp_err *err) {
    char *text = NULL;
    size_t size = 0;
    PP_TRY(pp_hardware_text(name_or_path, &text, &size, err));
    enum pp_status status = pp_hardware_parse(name_or_path, text, size, hw_p, err);
    free(text);
    return status;
}
