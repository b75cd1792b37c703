/**
 * @file compute.h
 * What stands behind the actions that are no messages: a table of operations, and one context a
 * rank. Workloads: `spin` (spin.h) lets time pass, the transformer (model/transformer.h) trains.
 *
 * The runtime calls start for F I W B UNSHARD RESHARD REDUCE_GRAD OFFLOAD RELOAD when everything
 * that the program says the action waits for is done. "Done" means that whoever depends on the
 * action may be started: on the host that it has ended; a device with streams may say so as soon as
 * the work is enqueued, if it orders the work itself, and tells by `times` afterwards when it ran.
 */
#ifndef PP_EXEC_COMPUTE_H
#define PP_EXEC_COMPUTE_H

#include "exec/program.h"
#include "sim/profile.h"

enum { PP_COMPUTE_API = 2 };

/** One action, its buffers resolved. Lives only for the call. */
struct pp_work {
    const struct pp_program *program;
    int32_t index;           /* of the action in program->sched->actions */
    struct pp_action action; /* a copy */
    int64_t ready_ns; /* when all it waits for was over, by clock.h. What only lets time pass counts
                         from here: a rank that came late loses nothing */
    void *input, *output, *output_grad, *input_grad, *stash; /* NULL: it has none */
    void *host_input, *host_stash;                           /* OFFLOAD, RELOAD */
    const void *copy_grad; /* REDUCE_GRAD of a stage with a copy: the copy's gradients as its rank
                              sent them (see `exchange`) */
};

/** A tensor of a stage's lasting state: parameters, gradients, moments. */
struct pp_state {
    int32_t stage; /* of the model: copies of one have its number, and what they hold is the same */
    char name[64]; /* "model.layers.3.mlp.up_proj.weight"; with a suffix ".m" or ".v" for moments */
    float *data;   /* host memory, or device memory where the workload says so */
    float *grad;   /* [count]; NULL for moments */
    int64_t count;
};

struct pp_compute_ops {
    int32_t api;      /* PP_COMPUTE_API */
    const char *name; /* "spin" */
    bool overlaps;    /* both parts of a pair may be in flight at once */

    /* ---- required ---- */

    /** Starts an action; must not wait for other ranks. Failures name the action. */
    enum pp_status (*start)(void *context, const struct pp_work *work, struct pp_err *err);

    /* ---- optional: NULL means what is said here ---- */

    /** Is it done? NULL: when start has returned. */
    bool (*done)(void *context, const struct pp_work *work);
    /** No started action will be done before this time (clock.h): the runtime may sleep. NULL or 0:
     *  not known. */
    int64_t (*wake_ns)(void *context);
    /** When a done action ran, for the trace. NULL: when the runtime saw it start and end. */
    void (*times)(void *context, int32_t index, int64_t *start_ns_p, int64_t *end_ns_p);

    /** Before the first action of a step and after the last of all ranks; whoever calls
     *  pp_drive_step calls them. NULL: nothing to do. */
    enum pp_status (*begin_step)(void *context, int64_t step, struct pp_err *err);
    enum pp_status (*end_step)(void *context, int64_t step, struct pp_err *err); /* optimizer */
    /** Sum of the losses of the rank's last-stage microbatches of this step, in the order of their
     *  numbers; 0 where the rank holds no last stage. NULL: there is no loss. */
    double (*loss)(void *context);
    /** Lasting state, for checkpoints and tests. @return how many there are; writes one if
     *  0 <= index. NULL: there is none. */
    int32_t (*state)(void *context, int32_t index, struct pp_state *state_p);
    /** The gradients of `stage` as one block, for the exchange with the stage's copy. NULL: there
     *  are none, and an exchange sends no bytes. */
    const void *(*exchange)(void *context, int32_t stage, int64_t *bytes_p);
    /** Profile rows. @return how many there are; writes at most `room`. NULL: there are none. */
    int32_t (*profile)(void *context, struct pp_profile_row *rows, int32_t room);
};

#endif
