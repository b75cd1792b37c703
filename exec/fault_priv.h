/* What the two files of faults share. */
#ifndef PP_EXEC_FAULT_PRIV_H
#define PP_EXEC_FAULT_PRIV_H

#include "exec/fault.h"

/* Done to a SEND? */
static inline bool pp_fault_is_about_messages(enum pp_fault_kind kind) {
    return kind >= PP_FAULT_DROP && kind <= PP_FAULT_DELAY;
}

#endif
