#include "exec/registry.h"

#include "exec/host/host.h"

#ifdef PP_HAVE_CUDA
#include "exec/cuda/probe.h"
#endif

void pp_exec_devices(struct pp_device *devices) {
    devices[0] = (struct pp_device){.name = "host", .built = true, .count = 1};
    pp_host_describe(devices[0].detail, sizeof devices[0].detail);
    devices[1] = (struct pp_device){.name = "cuda", .detail = "not compiled in"};
#ifdef PP_HAVE_CUDA
    devices[1].built = true;
    devices[1].count = pp_cuda_probe(devices[1].detail, sizeof devices[1].detail);
#endif
}
