/* The table of one level. */
#include "exec/host/kernels.h"

const struct pp_device_ops KERNEL(kernels) = {
    .embed = KERNEL(embed),
    .embed_grad = KERNEL(embed_grad),
    .norm = KERNEL(norm),
    .norm_grad = KERNEL(norm_grad),
    .rope = KERNEL(rope),
    .attention = KERNEL(attention),
    .attention_grad = KERNEL(attention_grad),
    .swiglu = KERNEL(swiglu),
    .swiglu_grad = KERNEL(swiglu_grad),
    .add = KERNEL(add),
    .add_float = KERNEL(add_float),
    .scale_float = KERNEL(scale_float),
    .cross_entropy = KERNEL(cross_entropy),
    .route = KERNEL(route),
    .route_grad = KERNEL(route_grad),
    .gather = KERNEL(gather),
    .gather_grad = KERNEL(gather_grad),
    .combine = KERNEL(combine),
    .combine_grad = KERNEL(combine_grad),
    .adamw = KERNEL(adamw),
};
