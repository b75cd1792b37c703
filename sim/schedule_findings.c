#include "sim/schedule_findings.h"

#include <stdlib.h>

void pp_findings_deinit(struct pp_findings *f) {
    free(f->items);
    *f = (struct pp_findings){0};
}

enum pp_status pp_findings_take(struct pp_findings *f, enum pp_status status,
                                const struct pp_err *err, const char *action) {
    if (f == NULL || (status != PP_E_CSV && status != PP_E_PLACEMENT)) {
        return status;
    }
    if (f->items == NULL) {
        f->items = malloc(PP_FINDINGS_MAX * sizeof *f->items);
    }
    if (f->items == NULL || f->count == PP_FINDINGS_MAX) {
        return status;
    }
    struct pp_finding *item = &f->items[f->count++];
    item->err = *err;
    pp_copy(item->action, sizeof item->action, action);
    return f->count < PP_FINDINGS_MAX ? PP_OK : status;
}
