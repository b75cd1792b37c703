/* `pipeplan hardware`: the machines this program knows, or every figure of one. */
#include "costmodel/embedded.h"
#include "costmodel/hardware.h"
#include "reports/cli/cli.h"
#include "reports/json.h"
#include "reports/table.h"

#include <string.h>

/* A figure of a machine: whole or real. */
struct figure {
    const char *name;
    bool is_real;
    int64_t whole;
    double real;
};

enum { MAX_FIGURES = 32 };

#define WHOLE(name, value)                                                                         \
    { name, false, value, 0.0 }
#define REAL(name, value)                                                                          \
    { name, true, 0, value }

static int32_t figures_of(const struct pp_hardware *hw, struct figure figures[MAX_FIGURES]) {
    const struct figure all[] = {
        WHOLE("bf16_flops_per_s", hw->bf16_flops_per_s),
        WHOLE("fp8_flops_per_s", hw->fp8_flops_per_s),
        WHOLE("memory_bytes", hw->memory_bytes),
        WHOLE("memory_bytes_per_s", hw->memory_bytes_per_s),
        WHOLE("sm_count", hw->sm_count),
        WHOLE("gpus_per_node", hw->gpus_per_node),
        WHOLE("intra_node_bytes_per_s", hw->intra_node.bytes_per_s),
        WHOLE("intra_node_latency_ns", hw->intra_node.latency_ns),
        WHOLE("inter_node_bytes_per_s", hw->inter_node.bytes_per_s),
        WHOLE("inter_node_latency_ns", hw->inter_node.latency_ns),
        REAL("gemm_efficiency", hw->gemm_efficiency),
        REAL("gemm_wave_share", hw->gemm_wave_share),
        REAL("gemm_duration_exponent", hw->gemm_duration_exponent),
        REAL("grouped_gemm_efficiency", hw->grouped_gemm_efficiency),
        REAL("grouped_gemm_half_tokens", hw->grouped_gemm_half_tokens),
        REAL("attention_forward_efficiency", hw->attention_forward_efficiency),
        REAL("attention_backward_efficiency", hw->attention_backward_efficiency),
        REAL("attention_forward_ns_per_token", hw->attention_forward_ns_per_token),
        REAL("attention_backward_ns_per_token", hw->attention_backward_ns_per_token),
        REAL("memory_efficiency", hw->memory_efficiency),
        REAL("intra_link_efficiency", hw->intra_link_efficiency),
        REAL("inter_link_efficiency", hw->inter_link_efficiency),
        WHOLE("launch_ns", hw->launch_ns),
        WHOLE("collective_latency_ns", hw->collective_latency_ns),
        WHOLE("reserved_bytes", hw->reserved_bytes),
        WHOLE("communicator_bytes", hw->communicator_bytes),
        REAL("allocator_slack_frac", hw->allocator_slack_frac),
    };
    _Static_assert(sizeof all <= sizeof(struct figure[MAX_FIGURES]), "room for every figure");
    memcpy(figures, all, sizeof all);
    return sizeof all / sizeof all[0];
}

static json_t *machine_json(const struct pp_hardware *hw, json_t *row) {
    json_object_set_new(row, "name", json_string(hw->name));
    json_object_set_new(row, "title", json_string(hw->title));
    struct figure figures[MAX_FIGURES];
    int32_t count = figures_of(hw, figures);
    for (int32_t i = 0; i < count; i++) {
        const struct figure *f = &figures[i];
        json_object_set_new(row, f->name, f->is_real ? json_real(f->real) : json_integer(f->whole));
    }
    json_object_set_new(row, "source", json_string(hw->source));
    return row;
}

/* ---- the catalogue ---- */

static void machine_row(const struct pp_hardware *hw, struct pp_table *t) {
    pp_table_cell(t, "%s", hw->name);
    pp_table_cell(t, "%.1f", (double)hw->bf16_flops_per_s / 1e12);
    pp_table_cell(t, "%.1f", (double)hw->memory_bytes / (1024.0 * 1024.0 * 1024.0));
    pp_table_cell(t, "%.2f", (double)hw->memory_bytes_per_s / 1e12);
    pp_table_cell(t, "%d", hw->gpus_per_node);
    pp_table_cell(t, "%.0f", (double)hw->intra_node.bytes_per_s / 1e9);
    pp_table_cell(t, "%.0f", (double)hw->inter_node.bytes_per_s / 1e9);
    pp_table_cell(t, "%s", hw->title);
}

static enum pp_status add_machines(json_t *rows, struct pp_table *t, struct pp_err *err) {
    for (const struct pp_embedded_file *f = pp_embedded_hardware; f->name != NULL; f++) {
        struct pp_hardware hw;
        PP_TRY(pp_hardware_load(f->name, &hw, err));
        machine_row(&hw, t);
        json_array_append_new(rows, machine_json(&hw, json_object()));
    }
    return PP_OK;
}

static enum pp_status show_all(struct pp_cli *cli, struct pp_err *err) {
    json_t *document = pp_json_document(cli->command);
    json_t *rows = json_array();
    json_object_set_new(document, "hardware", rows);
    struct pp_table t;
    pp_table_init(&t, "lrrrrrrl");
    pp_table_row(&t, (const char *const[]){"name", "bf16 TFLOP/s", "memory GiB", "memory TB/s",
                                           "GPUs a node", "in node GB/s", "between GB/s", "title"});
    enum pp_status status = add_machines(rows, &t, err);
    if (status == PP_OK && !cli->json) {
        status = pp_table_print(&t, cli->out, err);
    }
    pp_table_deinit(&t);
    if (status != PP_OK) {
        json_decref(document);
        return status;
    }
    return pp_cli_answer(cli, document, NULL);
}

/* ---- one machine ---- */

static enum pp_status show_text(struct pp_cli *cli, const struct pp_hardware *hw,
                                struct pp_err *err) {
    fprintf(cli->out, "%s: %s\n\n", hw->name, hw->title);
    struct pp_table t;
    pp_table_init(&t, "lr");
    pp_table_row(&t, (const char *const[]){"figure", "value"});
    struct figure figures[MAX_FIGURES];
    int32_t count = figures_of(hw, figures);
    for (int32_t i = 0; i < count; i++) {
        const struct figure *f = &figures[i];
        pp_table_cell(&t, "%s", f->name);
        if (f->is_real) {
            pp_table_cell(&t, "%g", f->real);
        } else {
            pp_table_cell(&t, "%lld", (long long)f->whole);
        }
    }
    enum pp_status status = pp_table_print(&t, cli->out, err);
    pp_table_deinit(&t);
    if (status == PP_OK && hw->source[0] != '\0') {
        fprintf(cli->out, "\nsource: %s\n", hw->source);
    }
    return status;
}

static enum pp_status show_one(struct pp_cli *cli, const char *name, struct pp_err *err) {
    struct pp_hardware hw;
    PP_TRY(pp_hardware_load(name, &hw, err));
    if (!cli->json) {
        return show_text(cli, &hw, err);
    }
    return pp_cli_answer(cli, machine_json(&hw, pp_json_document(cli->command)), NULL);
}

enum pp_status pp_cmd_hardware(struct pp_cli *cli, int argc, char **argv, struct pp_err *err) {
    const struct pp_usage usage = {
        .synopsis = "pipeplan hardware [NAME|FILE]",
        .about = "The machines this program knows, or every figure of one, shipped or from a file "
                 "of the same form.",
        .example = "pipeplan hardware h100-sxm",
    };
    const char *name = NULL;
    int32_t count;
    bool helped;
    PP_TRY(pp_parse_options(cli, &usage, argc, argv, &name, 1, &count, &helped, err));
    if (helped) {
        return PP_OK;
    }
    return count == 0 ? show_all(cli, err) : show_one(cli, name, err);
}
