/**
 * @file network.h
 * The links between ranks, and how much of them each transfer gets.
 *
 * Each rank has a port to its node's fabric (NVLink) and shares a NIC with some ranks of its node.
 * Ports and NICs are two links each, one out and one in. A transfer takes exactly two links: within
 * a node the sender's port out and the receiver's port in, else the sender's NIC out and the
 * receiver's NIC in. A collective of a rank (its part of a ring among ranks that are not simulated)
 * takes out and in of its own NIC, or of its port.
 *
 * A transfer alone moves at the smaller capacity of its two links. Where links are shared, those in
 * motion get max-min fair rates: no rate can grow without taking from one that is not larger
 * (Bertsekas and Gallager, Data Networks, section 6.5.2).
 *
 * Capacities are whole bytes a second; times are ns; what is left of a transfer is kept exactly for
 * the rates it had. A rate that is shared is rounded down to 2^-16 byte/s: a transfer is late by
 * less than 1 ns an event while it takes at most 2^16 ns for each byte/s of its rate (18 h at 1
 * GB/s, 65 s at 1 MB/s).
 */
#ifndef PP_SIM_NETWORK_H
#define PP_SIM_NETWORK_H

#include "sim/schedule.h"

/** Plain data; the arrays are the caller's. Read only, so that threads may share it. */
struct pp_network {
    const int32_t *node; /* [rank_count] any numbers: equal = same node */
    const int32_t *nic;  /* [rank_count] 0 <= nic < rank_count; ranks of one NIC are of one node */
    int64_t port_bytes_per_s, nic_bytes_per_s; /* each direction; 1 .. PP_LINK_MAX_BYTES_PER_S */
    bool collectives_use_port;                 /* the collective's ranks are in this node */
    bool shared;                               /* false: every transfer moves as if alone */
};

#define PP_LINK_MAX_BYTES_PER_S ((int64_t)1 << 47)
#define PP_TRANSFER_MAX_BYTES ((int64_t)1 << 46)

/** @return PP_OK, PP_E_RANGE (a capacity, a NIC outside its range or of two nodes) */
enum pp_status pp_network_check(const struct pp_network *net, int32_t rank_count,
                                struct pp_err *err);

/** The two links of a transfer: 0 .. pp_network_link_count - 1. */
struct pp_route {
    int32_t out, in;
};
struct pp_route pp_network_message(const struct pp_network *net, int32_t from, int32_t to);
struct pp_route pp_network_collective(const struct pp_network *net, int32_t rank);

/** 4 * rank_count. Link 4 k is rank k's port out, 4 k + 1 its port in, 4 k + 2 and 4 k + 3 are NIC
 *  k's out and in. */
int32_t pp_network_link_count(int32_t rank_count);
/** The capacity of a link. */
int64_t pp_network_bytes_per_s(const struct pp_network *net, int32_t rank_count, int32_t link);

/** Time of a transfer alone: ceil(bytes * 10^9 / bytes_per_s); INT64_MAX if that is more.
 *  @param bytes  0 or more. @param bytes_per_s  1 or more */
int64_t pp_network_alone_ns(int64_t bytes, int64_t bytes_per_s);

#endif
