#include "reports/cli/lane_options.h"

#include "costmodel/hardware.h"
#include "reports/cli/comms_words.h"

#include <string.h>

void pp_lane_options_rows(struct pp_lane_options *o, struct pp_option *rows) {
    const struct pp_option table[PP_LANE_OPTION_COUNT] = {
        {"", PP_OPT_HEADING, NULL, NULL, 0, 0, "",
         "COMMUNICATION (any of these puts transfers and collectives on lanes of their own):"},
        {"--runtime", PP_OPT_TEXT, &o->runtime, NULL, 0, 0, "NAME",
         "whose habits: ours, torch (a queue a pair) or megatron (batched); default ours"},
        {"--lowering", PP_OPT_TEXT, &o->lowering, NULL, 0, 0, "MODE",
         "where sends and receives stand: torch, ours or batched; default the runtime's"},
        {"--channels", PP_OPT_TEXT, &o->channels, NULL, 0, 0, "KIND",
         "which share a queue: rank, pair or directed; default the runtime's, directed for ours"},
        {"--comms", PP_OPT_TEXT, &o->comms, NULL, 0, 0, "KIND",
         "what a send waits for: rendezvous or buffered:K; default rendezvous"},
        {"--hardware", PP_OPT_TEXT, &o->hardware, NULL, 0, 0, "NAME|FILE",
         "links of this machine: bandwidth, latency, ranks a node"},
        {"--link-bandwidth", PP_OPT_RATE, &o->link_rate, &o->has_link_rate, 0, 0, "RATE",
         "of a rank within its node, each way"},
        {"--nic-bandwidth", PP_OPT_RATE, &o->nic_rate, &o->has_nic_rate, 0, 0, "RATE",
         "of a NIC, each way; default --link-bandwidth"},
        {"--ranks-per-node", PP_OPT_INT, &o->ranks_per_node, &o->has_ranks_per_node, 1,
         PP_SCHED_MAX_RANKS, "N", "pipeline ranks on one node; default all, or the machine's GPUs"},
        {"--ranks-per-nic", PP_OPT_INT, &o->ranks_per_nic, &o->has_ranks_per_nic, 1,
         PP_SCHED_MAX_RANKS, "N", "that leave their node by one NIC; default 1"},
        {"--exclusive-links", PP_OPT_FLAG, &o->exclusive_links, NULL, 0, 0, "",
         "every transfer moves as if alone on its links"},
        {"--p2p-bytes", PP_OPT_BYTES, &o->p2p_bytes, &o->has_p2p_bytes, 0, PP_TRANSFER_MAX_BYTES,
         "SIZE", "of a message between two stages"},
        {"--t-unshard", PP_OPT_DURATION, &o->unshard_ns, &o->has_unshard, 0, 0, "D",
         "to gather a rank's whole parameters, beside the bytes"},
        {"--unshard-bytes", PP_OPT_BYTES, &o->unshard_bytes, &o->has_unshard_bytes, 0,
         PP_TRANSFER_MAX_BYTES, "SIZE", "that cross its link for this"},
        {"--t-reduce", PP_OPT_DURATION, &o->reduce_ns, &o->has_reduce_ns, 0, 0, "D",
         "to reduce a rank's whole gradients, beside the bytes"},
        {"--reduce-bytes", PP_OPT_BYTES, &o->reduce_bytes, &o->has_reduce_bytes, 0,
         PP_TRANSFER_MAX_BYTES, "SIZE", "that cross its link for this"},
        {"--collectives-in-node", PP_OPT_FLAG, &o->collectives_in_node, NULL, 0, 0, "",
         "they use the rank's port, not its NIC"},
        {"--reduce", PP_OPT_TEXT, &o->reduce, NULL, 0, 0, "WHEN",
         "gradients are reduced once a step, flush or microbatch; default step"},
        {"--reshard-after-forward", PP_OPT_FLAG, &o->reshard, NULL, 0, 0, "",
         "parameters are freed after every use"},
        {"", PP_OPT_HEADING, NULL, NULL, 0, 0, "", "STEP:"},
        {"--flushes", PP_OPT_INT, &o->flushes, NULL, 1, PP_SCHED_MAX_MICROBATCHES, "N",
         "flushes of one step, one after the other; default 1"},
        {"--t-optimizer", PP_OPT_DURATION, &o->optimizer_ns, NULL, 0, 0, "D",
         "optimizer of every rank, at the end of the step"},
        {"--no-barrier", PP_OPT_FLAG, &o->no_barrier, NULL, 0, 0, "",
         "a rank's optimizer does not wait for the other ranks"},
    };
    memcpy(rows, table, sizeof table);
}

const char *pp_lane_options_flag(const struct pp_lane_options *o) {
    const struct {
        bool given;
        const char *name;
    } flags[] = {
        {o->runtime != NULL, "--runtime"},
        {o->lowering != NULL, "--lowering"},
        {o->channels != NULL, "--channels"},
        {o->comms != NULL, "--comms"},
        {o->hardware != NULL, "--hardware"},
        {o->has_link_rate, "--link-bandwidth"},
        {o->has_nic_rate, "--nic-bandwidth"},
        {o->has_ranks_per_node, "--ranks-per-node"},
        {o->has_ranks_per_nic, "--ranks-per-nic"},
        {o->exclusive_links, "--exclusive-links"},
        {o->has_p2p_bytes, "--p2p-bytes"},
        {o->has_unshard, "--t-unshard"},
        {o->has_unshard_bytes, "--unshard-bytes"},
        {o->has_reduce_ns, "--t-reduce"},
        {o->has_reduce_bytes, "--reduce-bytes"},
        {o->collectives_in_node, "--collectives-in-node"},
        {o->reduce != NULL, "--reduce"},
        {o->reshard, "--reshard-after-forward"},
    };
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
        if (flags[i].given) {
            return flags[i].name;
        }
    }
    return NULL;
}

static enum pp_status read_runtime(const struct pp_lane_options *o, struct pp_lane_setup *setup,
                                   struct pp_err *err) {
    const char *words[PP_RUNTIME_COUNT];
    for (enum pp_runtime_kind i = 0; i < PP_RUNTIME_COUNT; i++) {
        words[i] = pp_runtime_text(i);
    }
    int32_t chosen = PP_RUNTIME_OURS;
    if (o->runtime != NULL) {
        PP_TRY(pp_choose_word("--runtime", o->runtime, words, PP_RUNTIME_COUNT, &chosen, err));
    }
    setup->kind = (enum pp_runtime_kind)chosen;
    setup->runtime = pp_runtime_of(setup->kind);
    if (o->channels != NULL) {
        PP_TRY(pp_channels_word(o->channels, &setup->runtime.comms.channels, err));
    }
    if (o->comms != NULL) {
        setup->runtime.comms.buffer_count = 0;
        PP_TRY(pp_comms_word(o->comms, &setup->runtime.comms.buffer_count, err));
    }
    return PP_OK;
}

static enum pp_status read_lowering(const struct pp_lane_options *o, int32_t microbatch_count,
                                    struct pp_lane_setup *setup, struct pp_err *err) {
    static const enum pp_lower_mode modes[PP_RUNTIME_COUNT] = {
        [PP_RUNTIME_OURS] = PP_LOWER_OURS,
        [PP_RUNTIME_TORCH] = PP_LOWER_TORCH,
        [PP_RUNTIME_MEGATRON] = PP_LOWER_BATCHED,
    };
    enum pp_lower_mode mode = modes[setup->kind];
    if (o->lowering != NULL) {
        PP_TRY(pp_lowering_word(o->lowering, &mode, err));
    }
    static const char *const words[] = {"step", "flush", "microbatch"};
    const int32_t periods[] = {0, microbatch_count, 1};
    int32_t chosen = 0;
    if (o->reduce != NULL) {
        PP_TRY(pp_choose_word("--reduce", o->reduce, words, 3, &chosen, err));
    }
    setup->lower = (struct pp_lower_options)PP_LOWER_OPTIONS_DEFAULT(mode);
    setup->lower.reshard_after_use = o->reshard;
    setup->lower.reduce_every = chosen == 1 && o->flushes == 1 ? 0 : periods[chosen];
    if (mode == PP_LOWER_OURS && o->channels == NULL) {
        setup->runtime.comms.channels = PP_CHANNELS_DIRECTED; /* what its receives are made for */
    }
    if (setup->runtime.batched && mode == PP_LOWER_OURS) {
        setup->lower.look_ahead = 0; /* a batch holds up compute: receive no earlier than needed */
    }
    return PP_OK;
}

static enum pp_status need_links(const struct pp_lane_options *o, struct pp_err *err) {
    const char *flag = o->has_p2p_bytes         ? "--p2p-bytes"
                       : o->has_unshard_bytes   ? "--unshard-bytes"
                       : o->has_reduce_bytes    ? "--reduce-bytes"
                       : o->has_nic_rate        ? "--nic-bandwidth"
                       : o->has_ranks_per_nic   ? "--ranks-per-nic"
                       : o->has_ranks_per_node  ? "--ranks-per-node"
                       : o->collectives_in_node ? "--collectives-in-node"
                       : o->exclusive_links     ? "--exclusive-links"
                                                : NULL;
    if (flag == NULL) {
        return PP_OK;
    }
    pp_fail(err, PP_E_USAGE, "%s needs links", flag);
    pp_hint(err, "give --hardware NAME, or --link-bandwidth and perhaps --nic-bandwidth");
    return PP_E_USAGE;
}

/* What one rank can use of a link class. */
static int64_t usable(const struct pp_link *link, double efficiency) {
    return pp_max_i64(1, pp_round_i64((double)link->bytes_per_s * efficiency));
}

static enum pp_status check_rate(const char *flag, int64_t rate, struct pp_err *err) {
    if (rate < 1 || rate > PP_LINK_MAX_BYTES_PER_S) {
        return pp_fail(err, PP_E_RANGE, "%s is %lld bytes/s, expected 1 to %lld", flag,
                       (long long)rate, (long long)PP_LINK_MAX_BYTES_PER_S);
    }
    return PP_OK;
}

static enum pp_status read_links(const struct pp_lane_options *o, struct pp_lane_setup *setup,
                                 struct pp_err *err) {
    if (o->hardware == NULL && !o->has_link_rate) {
        return need_links(o, err);
    }
    setup->has_links = true;
    if (o->hardware != NULL) {
        struct pp_hardware hw;
        PP_TRY(pp_hardware_load(o->hardware, &hw, err));
        setup->port_bytes_per_s = usable(&hw.intra_node, hw.intra_link_efficiency);
        setup->nic_bytes_per_s = usable(&hw.inter_node, hw.inter_link_efficiency);
        setup->intra_latency_ns = hw.intra_node.latency_ns;
        setup->inter_latency_ns = hw.inter_node.latency_ns;
        setup->has_latency = true;
        setup->ranks_per_node = hw.gpus_per_node;
    }
    if (o->has_link_rate) {
        PP_TRY(check_rate("--link-bandwidth", o->link_rate, err));
        setup->port_bytes_per_s = o->link_rate;
    }
    if (o->has_nic_rate) {
        PP_TRY(check_rate("--nic-bandwidth", o->nic_rate, err));
        setup->nic_bytes_per_s = o->nic_rate;
    } else if (o->hardware == NULL) {
        setup->nic_bytes_per_s = o->link_rate;
    }
    return PP_OK;
}

enum pp_status pp_lane_options_read(const struct pp_lane_options *o, int32_t microbatch_count,
                                    struct pp_lane_setup *setup_p, struct pp_err *err) {
    struct pp_lane_setup setup = {.ranks_per_nic = (int32_t)o->ranks_per_nic};
    const char *flag = pp_lane_options_flag(o);
    setup.on_lanes = flag != NULL;
    if (o->no_barrier && flag != NULL) {
        pp_fail(err, PP_E_USAGE, "--no-barrier does not go with %s", flag);
        pp_hint(err, "steps in the long run are told without lanes, transfers by --t-p2p");
        return PP_E_USAGE;
    }
    PP_TRY(read_runtime(o, &setup, err));
    PP_TRY(read_lowering(o, microbatch_count, &setup, err));
    PP_TRY(read_links(o, &setup, err));
    if (o->has_ranks_per_node) {
        setup.ranks_per_node = (int32_t)o->ranks_per_node;
    }
    *setup_p = setup;
    return PP_OK;
}
