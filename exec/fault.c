#include "exec/fault.h"

enum pp_status pp_fault_wrap(struct pp_transport *transport, const struct pp_program *program,
                             const struct pp_fault *fault, struct pp_err *err) {
    (void)transport;
    (void)program;
    return fault->kind == PP_FAULT_NONE ? PP_OK : pp_fail(err, PP_E_VALUE, "no faults yet");
}

void pp_fault_unwrap(struct pp_transport *transport) {
    (void)transport;
}

void pp_fault_wrap_compute(struct pp_fault_compute *wrapped, const struct pp_compute_ops *inner,
                           void *inner_context, const struct pp_fault *fault) {
    *wrapped = (struct pp_fault_compute){
        .ops = *inner, .inner = inner, .inner_context = inner_context, .fault = *fault};
}
