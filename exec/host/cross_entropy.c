/* Cross-entropy and its gradient, in place. The others' exponentials are summed in double and apart
 * from the target's, so that a loss near zero, and a gradient p - 1 near zero, keep their digits.
 */
#include "exec/host/kernels.h"
#include "exec/host/simd.h"

#include <math.h>

/* @return the token's loss */
static double token_loss(float *row, int32_t target, int64_t vocab, float scale) {
    double most = (double)pp_row_greatest(row, vocab);
    double wanted = (double)row[target];
    row[target] = -INFINITY; /* whose exponential is 0 */
    double others = pp_row_exp(row, (float)most, vocab);
    double its_own = exp(wanted - most); /* NaN for infinity, so that it is not lost */
    double sum = others + its_own;
    float factor = (float)((double)scale / sum);
    for (int64_t i = 0; i < vocab; i += PP_LANES) {
        pp_put(row + i, pp_get(row + i, vocab - i) * factor, vocab - i);
    }
    row[target] = (float)(-others / sum * (double)scale); /* p - 1 */
    return wanted == most ? log1p(others / its_own) : log(sum) + (most - wanted);
}

void KERNEL(cross_entropy)(void *context, double *loss_sum, void *logits, const int32_t *targets,
                           int64_t tokens, int64_t vocab, float scale) {
    (void)context;
    double loss = 0;
    for (int64_t t = 0; t < tokens; t++) {
        loss += token_loss((float *)logits + t * vocab, targets[t], vocab, scale);
    }
    *loss_sum += loss;
}
