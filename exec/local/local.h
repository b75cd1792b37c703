/**
 * @file local.h
 * Transport between ranks of one process, driven by one thread or by several. A message is copied
 * once, by the side that posts second.
 *
 * Rendezvous (buffers 0): a send is done when its receive has taken it, as the strictest network
 * would have it; every schedule must run so. Otherwise up to `buffers` messages a channel are taken
 * in advance (copied to memory of the transport), and a send is done when it was taken.
 */
#ifndef PP_EXEC_LOCAL_H
#define PP_EXEC_LOCAL_H

#include "exec/transport.h"

struct pp_local_options {
    int32_t buffers;    /* 0: rendezvous */
    int64_t latency_ns; /* a message is there this long after it was taken: stands for a link */
};

/** @return PP_OK, PP_E_NOMEM */
enum pp_status pp_local_open(const struct pp_program *program,
                             const struct pp_local_options *options,
                             struct pp_transport *transport_p, struct pp_err *err);
void pp_local_close(struct pp_transport *transport);

#endif
