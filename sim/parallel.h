/**
 * @file parallel.h
 * Independent pieces of work on threads. The result of a piece must depend on its index only, so
 * that the same bytes come out for any number of threads.
 */
#ifndef PP_SIM_PARALLEL_H
#define PP_SIM_PARALLEL_H

#include "costmodel/base.h"

enum { PP_PARALLEL_MAX_THREADS = 1024 };

/** @param worker  0 .. thread_count - 1: which workspace to use. No two pieces have the same one at
 *                 the same time; 0 is the caller's thread, and only that one takes signals
 *  @return PP_OK, or a failure, which stops the handing out of further pieces */
typedef enum pp_status pp_parallel_work(void *context, int32_t index, int32_t worker,
                                        struct pp_err *err);

/** Processors this process may use (its affinity, not a quota of its container), at least 1, at
 *  most `most`. */
int32_t pp_parallel_threads(int32_t most);

/**
 * Calls work for 0 .. count - 1, handed out in ascending order, on thread_count threads, at most
 * one a piece and PP_PARALLEL_MAX_THREADS (1 or less: on the caller's). What the work wrote is
 * there for the caller to read.
 * @return PP_OK, or the failure of the lowest index that fails, with its err; every piece below it
 *         was done, those above may be left out. Threads that cannot be started are done without.
 */
enum pp_status pp_parallel_for(int32_t count, int32_t thread_count, pp_parallel_work *work,
                               void *context, struct pp_err *err);

#endif
