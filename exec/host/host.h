/**
 * @file host.h
 * The host as a device: float, on the CPU, matrix products by OpenBLAS (or, without it, by a slow
 * product of our own that only tests should meet). One context a rank; a context may be used by one
 * thread at a time, contexts side by side. Attention takes heads of at most 512 elements, sequences
 * of any length; no kernel allocates.
 */
#ifndef PP_EXEC_HOST_H
#define PP_EXEC_HOST_H

#include "exec/device.h"

extern const struct pp_device_ops pp_host_ops;

struct pp_host; /* scratch memory for attention */

/** @return PP_OK, PP_E_NOMEM */
enum pp_status pp_host_create(struct pp_host **host_p, struct pp_err *err);
void pp_host_destroy(struct pp_host *host);

/** "OpenBLAS 0.3.21, SkylakeX" or "built in (slow)": which matrix product this build uses. */
void pp_host_describe(char *text, size_t size);

/** How many threads one matrix product may use, for the process. 1 where ranks share the machine.
 *  Results may differ between numbers. */
void pp_host_set_threads(int32_t count);

#endif
