/* Cross-entropy and its gradient, in place. Exponentials are summed in double, so that a loss near
 * zero, and a gradient of p - 1 near zero, keep their digits. */
#include "exec/host/kernels.h"
#include "exec/host/simd.h"

#include <math.h>

void KERNEL(cross_entropy)(void *context, double *loss_sum, void *logits, const int32_t *targets,
                           int64_t tokens, int64_t vocab, float scale) {
    (void)context;
    double loss = 0;
    for (int64_t t = 0; t < tokens; t++) {
        float *row = (float *)logits + t * vocab;
        float wanted = row[targets[t]];
        float most = pp_row_greatest(row, vocab);
        double sum = pp_row_exp(row, most, vocab);
        loss += log(sum) + ((double)most - (double)wanted);
        double of_target = (double)row[targets[t]] / sum - 1;
        float factor = (float)((double)scale / sum);
        for (int64_t i = 0; i < vocab; i += PP_LANES) {
            pp_put(row + i, pp_get(row + i, vocab - i) * factor, vocab - i);
        }
        row[targets[t]] = (float)(of_target * (double)scale);
    }
    *loss_sum += loss;
}
