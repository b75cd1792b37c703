/* COMMUNICATION and STEP: the flags of `simulate` that say how ranks talk, over which links, what
 * data-parallel traffic there is, and how many flushes make a step. */
#ifndef PP_REPORTS_CLI_LANE_OPTIONS_H
#define PP_REPORTS_CLI_LANE_OPTIONS_H

#include "reports/cli/cost_options.h"
#include "sim/engine.h"
#include "sim/lower.h"

struct pp_lane_options {
    const char *runtime, *lowering, *channels, *comms, *hardware, *reduce;
    int64_t p2p_bytes, link_rate, nic_rate, ranks_per_node, ranks_per_nic;
    int64_t unshard_ns, unshard_bytes, reduce_ns, reduce_bytes;
    int64_t flushes, optimizer_ns;
    bool has_p2p_bytes, has_link_rate, has_nic_rate, has_ranks_per_node, has_ranks_per_nic;
    bool has_unshard, has_unshard_bytes, has_reduce_ns, has_reduce_bytes;
    bool exclusive_links, collectives_in_node, reshard, no_barrier;
};

#define PP_LANE_OPTIONS_DEFAULT                                                                    \
    { .flushes = 1, .ranks_per_nic = 1 }

enum { PP_LANE_OPTION_COUNT = 23 };

/* Writes the rows of an option table. @param rows  [PP_LANE_OPTION_COUNT] */
void pp_lane_options_rows(struct pp_lane_options *o, struct pp_option *rows);

/* A flag that puts communication on lanes, one of those given. NULL: none was. */
const char *pp_lane_options_flag(const struct pp_lane_options *o);

/* What the flags ask for. */
struct pp_lane_setup {
    bool on_lanes; /* lower the schedule and run it with its communication */
    enum pp_runtime_kind kind;
    struct pp_runtime runtime;
    struct pp_lower_options lower;
    bool has_links;
    int32_t ranks_per_node, ranks_per_nic; /* ranks_per_node 0: all ranks on one */
    int64_t port_bytes_per_s, nic_bytes_per_s;
    int64_t intra_latency_ns, inter_latency_ns; /* of --hardware, else 0 */
    bool has_latency;
};

/*
 * @param microbatch_count  of one flush, for --reduce flush
 * @return PP_OK, PP_E_USAGE (a word that is none, flags that need another), PP_E_RANGE, as
 *         pp_hardware_load
 */
enum pp_status pp_lane_options_read(const struct pp_lane_options *o, int32_t microbatch_count,
                                    struct pp_lane_setup *setup_p, struct pp_err *err);

#endif
