/* Looks for CUDA devices. Compiled only where the toolkit is found. */
#ifndef PP_EXEC_CUDA_PROBE_H
#define PP_EXEC_CUDA_PROBE_H

#include <stddef.h>
#include <stdint.h>

/** @return number of devices; `detail` gets the runtime's version and what it says of the devices
 */
int32_t pp_cuda_probe(char *detail, size_t size);

#endif
