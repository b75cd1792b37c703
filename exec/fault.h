/**
 * @file fault.h
 * Breaks a run on purpose, once, at a named action: to test that failures are seen and named, and
 * to rehearse one. A transport around another one; what is about a message is done to the SEND of
 * that action's stage and microbatch.
 */
#ifndef PP_EXEC_FAULT_H
#define PP_EXEC_FAULT_H

#include "exec/compute.h"
#include "exec/transport.h"

/* kind, name on the command line, what happens */
#define PP_FAULT_LIST(X)                                                                           \
    X(PP_FAULT_NONE, "none")                                                                       \
    X(PP_FAULT_DROP, "drop")           /* told as sent, never sent */                              \
    X(PP_FAULT_DUPLICATE, "duplicate") /* sent twice */                                            \
    X(PP_FAULT_REORDER, "reorder")     /* changes places with the next of its channel */           \
    X(PP_FAULT_CORRUPT, "corrupt")     /* one bit of the data flipped */                           \
    X(PP_FAULT_TRUNCATE, "size")       /* announced with another size */                           \
    X(PP_FAULT_DELAY, "delay")         /* posted delay_ns later */                                 \
    X(PP_FAULT_KILL, "kill")           /* SIGKILL to the own process when the action starts */     \
    X(PP_FAULT_STALL, "stall")         /* the action never ends */

enum pp_fault_kind {
#define PP_FAULT_ENUM(name, text) name,
    PP_FAULT_LIST(PP_FAULT_ENUM)
#undef PP_FAULT_ENUM
        PP_FAULT_COUNT
};

struct pp_fault {
    enum pp_fault_kind kind;
    int64_t step;
    int32_t action;   /* index: a SEND for what is about messages, any for KILL and STALL */
    int64_t delay_ns; /* DELAY */
};

/** "drop:0SEND_F3", "delay:1SEND_B0:200ms", "kill:2F1@5" (step 5; else 0).
 *  @return PP_OK, PP_E_VALUE (no such kind or action, with what there is) */
enum pp_status pp_fault_parse(const char *text, const struct pp_sched *lowered,
                              struct pp_fault *fault_p, struct pp_err *err);

/** Wraps a transport in place; pp_fault_unwrap before it is closed. */
enum pp_status pp_fault_wrap(struct pp_transport *transport, const struct pp_program *program,
                             const struct pp_fault *fault, struct pp_err *err);
void pp_fault_unwrap(struct pp_transport *transport);

/** The same for what is no message: KILL and STALL at a compute action. Zero-initialise; a table
 * and context around another table and context. */
struct pp_fault_compute {
    struct pp_compute_ops ops; /* to be used with this struct as context */
    const struct pp_compute_ops *inner;
    void *inner_context;
    struct pp_fault fault;
    int64_t step;
    bool stalled;
};

/** @param inner  not owned; what it lacks the wrapped table lacks, too */
void pp_fault_wrap_compute(struct pp_fault_compute *wrapped, const struct pp_compute_ops *inner,
                           void *inner_context, const struct pp_fault *fault);

#endif
