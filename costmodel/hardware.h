/**
 * @file hardware.h
 * Machines as data: peak rates, memory, links, and the calibrated efficiencies a plan uses. Shipped
 * files live in costmodel/data/hardware, each number with its source; users bring their own file in
 * the same form: `key: {value: number, source: text}` or `key: number`; a number of bytes, bytes
 * a second or ns may have its unit instead: 80GiB, 400Gb/s, 5us. The peaks, memory, link and count
 * keys are needed; efficiencies have defaults (those of h100-sxm).
 */
#ifndef PP_COSTMODEL_HARDWARE_H
#define PP_COSTMODEL_HARDWARE_H

#include "costmodel/doc.h"

/** A link class: time of one message = latency_ns + bytes / bytes_per_s. */
struct pp_link {
    int64_t latency_ns;
    int64_t bytes_per_s; /* one direction, usable by one GPU */
};

struct pp_hardware {
    char name[48]; /* "h100-sxm" */
    char title[96];
    char source[512];
    int64_t bf16_flops_per_s, fp8_flops_per_s; /* dense peak; fp8 0 = none */
    int64_t memory_bytes;                      /* per GPU */
    int64_t memory_bytes_per_s;                /* HBM peak */
    int32_t sm_count;
    int32_t gpus_per_node;
    struct pp_link intra_node, inter_node;

    /* free constants of the cost formulas (reference costs.md section 6); calibration replaces them
     */
    double gemm_efficiency, grouped_gemm_efficiency, attention_forward_efficiency,
        attention_backward_efficiency, memory_efficiency, intra_link_efficiency,
        inter_link_efficiency;
    double gemm_wave_share;          /* q: how much of the last wave's idle time is felt, 0 to 1 */
    double gemm_duration_exponent;   /* power limit: time * (time / 1 ms)^this; usually 0 */
    double grouped_gemm_half_tokens; /* m0 */
    double attention_forward_ns_per_token, attention_backward_ns_per_token; /* fixed, a call */
    int64_t launch_ns;
    int64_t collective_latency_ns; /* alpha of one collective */
    int64_t reserved_bytes;        /* context and workspaces */
    int64_t communicator_bytes;    /* buffers of each communicator */
    double allocator_slack_frac;   /* reserved over allocated minus 1 */
};

/**
 * By shipped name (case-insensitive), else as a path to a user's file.
 * @return PP_OK, PP_E_HARDWARE (neither; the hint lists the names), PP_E_FILE, PP_E_SYNTAX,
 *         PP_E_KEY (unknown or missing), PP_E_TYPE, PP_E_RANGE, PP_E_NOMEM
 */
enum pp_status pp_hardware_load(const char *name_or_path, struct pp_hardware *hw_p,
                                struct pp_err *err);

/** The same from a stored text. */
enum pp_status pp_hardware_parse(const char *name, const char *text, size_t size,
                                 struct pp_hardware *hw_p, struct pp_err *err);

/** Verbatim text of what pp_hardware_load would read; free with free(). For the store. */
enum pp_status pp_hardware_text(const char *name_or_path, char **text_p, size_t *size_p,
                                struct pp_err *err);

#endif
