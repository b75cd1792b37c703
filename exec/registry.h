/**
 * @file registry.h
 * Which devices this build can run schedules on, and what is there. The only place that knows which
 * backends were compiled in.
 */
#ifndef PP_EXEC_REGISTRY_H
#define PP_EXEC_REGISTRY_H

#include "costmodel/base.h"

struct pp_device {
    const char *name; /* "host", "cuda" */
    bool built;       /* compiled into this program */
    int32_t count;    /* usable devices found now */
    char detail[160]; /* version, or why there is none */
};

enum { PP_DEVICE_COUNT = 2 };

/** Looks, without failing: a missing driver is an answer. @param devices [PP_DEVICE_COUNT] */
void pp_exec_devices(struct pp_device *devices);

#endif
