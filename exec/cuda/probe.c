#include "exec/cuda/probe.h"

#include <cuda_runtime_api.h>
#include <stdio.h>

int32_t pp_cuda_probe(char *detail, size_t size) {
    int count = 0;
    int version = 0;
    cudaError_t found = cudaGetDeviceCount(&count);
    cudaRuntimeGetVersion(&version);
    snprintf(detail, size, "CUDA runtime %d.%d: %s", version / 1000, version % 1000 / 10,
             found == cudaSuccess ? "devices found" : cudaGetErrorString(found));
    return found == cudaSuccess ? count : 0;
}
