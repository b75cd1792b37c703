/** @file clock.h The one clock of a run, and how to wait by it. */
#ifndef PP_EXEC_CLOCK_H
#define PP_EXEC_CLOCK_H

#include <stdint.h>

/** CLOCK_MONOTONIC in ns: common to all processes of a machine. */
int64_t pp_now_ns(void);

/** Sleeps until that time; returns at once if it is past. */
void pp_sleep_until_ns(int64_t time_ns);

#endif
