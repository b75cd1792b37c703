#include "sim/network.h"

/* Of a rank's, or NIC's, number k the links are 4 k + these. */
enum { PORT_OUT, PORT_IN, NIC_OUT, NIC_IN, LINK_KINDS };

enum { NS_PER_S = 1000000000 };

static enum pp_status check_capacity(int64_t bytes_per_s, const char *what, struct pp_err *err) {
    if (bytes_per_s >= 1 && bytes_per_s <= PP_LINK_MAX_BYTES_PER_S) {
        return PP_OK;
    }
    return pp_fail(err, PP_E_RANGE, "%s: got %lld bytes/s, need 1 to %lld", what,
                   (long long)bytes_per_s, (long long)PP_LINK_MAX_BYTES_PER_S);
}

enum pp_status pp_network_check(const struct pp_network *net, int32_t rank_count,
                                struct pp_err *err) {
    PP_ASSERT(rank_count >= 1 && rank_count <= PP_SCHED_MAX_RANKS);
    int32_t first_of[PP_SCHED_MAX_RANKS]; /* rank that a NIC was first seen with */
    PP_TRY(check_capacity(net->port_bytes_per_s, "port", err));
    PP_TRY(check_capacity(net->nic_bytes_per_s, "NIC", err));
    for (int32_t rank = 0; rank < rank_count; rank++) {
        first_of[rank] = -1;
    }
    for (int32_t rank = 0; rank < rank_count; rank++) {
        int32_t nic = net->nic[rank];
        if (nic < 0 || nic >= rank_count) {
            return pp_fail(err, PP_E_RANGE, "NIC of rank %d: got %d, need 0 to %d", rank, nic,
                           rank_count - 1);
        }
        int32_t first = first_of[nic];
        if (first < 0) {
            first_of[nic] = rank;
        } else if (net->node[first] != net->node[rank]) {
            return pp_fail(err, PP_E_RANGE,
                           "NIC %d is of rank %d on node %d and of rank %d on node %d, need one "
                           "node a NIC",
                           nic, first, net->node[first], rank, net->node[rank]);
        }
    }
    return PP_OK;
}

struct pp_route pp_network_message(const struct pp_network *net, int32_t from, int32_t to) {
    if (net->node[from] == net->node[to]) {
        return (struct pp_route){.out = LINK_KINDS * from + PORT_OUT,
                                 .in = LINK_KINDS * to + PORT_IN};
    }
    return (struct pp_route){.out = LINK_KINDS * net->nic[from] + NIC_OUT,
                             .in = LINK_KINDS * net->nic[to] + NIC_IN};
}

struct pp_route pp_network_collective(const struct pp_network *net, int32_t rank) {
    if (net->collectives_use_port) {
        return (struct pp_route){.out = LINK_KINDS * rank + PORT_OUT,
                                 .in = LINK_KINDS * rank + PORT_IN};
    }
    return (struct pp_route){.out = LINK_KINDS * net->nic[rank] + NIC_OUT,
                             .in = LINK_KINDS * net->nic[rank] + NIC_IN};
}

int32_t pp_network_link_count(int32_t rank_count) {
    return LINK_KINDS * rank_count;
}

int64_t pp_network_bytes_per_s(const struct pp_network *net, int32_t rank_count, int32_t link) {
    PP_ASSERT(link >= 0 && link < pp_network_link_count(rank_count));
    return link % LINK_KINDS < NIC_OUT ? net->port_bytes_per_s : net->nic_bytes_per_s;
}

int64_t pp_network_alone_ns(int64_t bytes, int64_t bytes_per_s) {
    PP_ASSERT(bytes >= 0 && bytes_per_s >= 1);
    unsigned __int128 rate = (unsigned __int128)bytes_per_s;
    unsigned __int128 ns = ((unsigned __int128)bytes * NS_PER_S + rate - 1) / rate;
    return ns > INT64_MAX ? INT64_MAX : (int64_t)ns;
}
