/**
 * @file control.h
 * What the processes of a run say to one another between steps. One process: pp_control_alone.
 * Everything here waits for all processes; it is never called while a step runs. Who waits looks
 * around meanwhile, if it was told how: a process that died would be waited for for ever.
 */
#ifndef PP_EXEC_CONTROL_H
#define PP_EXEC_CONTROL_H

#include "costmodel/base.h"

/** Is the run over, because another process is gone or has failed? Fills in `err` then. */
typedef bool pp_control_look(void *context, struct pp_err *err);

struct pp_control_ops {
    /** Gathers `size` bytes of every process at process 0, in their order. @param all [count*size],
     *  only used at process 0 */
    enum pp_status (*gather)(void *context, const void *mine, size_t size, void *all,
                             struct pp_err *err);
    /** Gives everybody process 0's bytes. */
    enum pp_status (*broadcast)(void *context, void *data, size_t size, struct pp_err *err);
    enum pp_status (*barrier)(void *context, struct pp_err *err);
    /** From now on whoever waits looks around some times a second, and returns PP_E_RUN if the run
     * is over. @param look  NULL: waits whatever happens */
    void (*watch)(void *context, pp_control_look *look, void *look_context);
    /** Ends all processes of the run as soon as it can, this one with `code`. Does not return. */
    void (*abort)(void *context, int code);
};

struct pp_control {
    const struct pp_control_ops *ops;
    void *context;
    int32_t process, process_count;
};

/** One process that speaks to nobody. */
struct pp_control pp_control_alone(void);

#endif
