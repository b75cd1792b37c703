/** @file draw.h Numbers by counter, many at once. */
#ifndef PP_EXEC_MODEL_DRAW_H
#define PP_EXEC_MODEL_DRAW_H

#include <stdint.h>

/** data[i] = pp_draw(seed, stream, first + i) * scale */
void pp_draw_fill(float *data, int64_t count, uint64_t seed, uint64_t stream, uint64_t first,
                  float scale);

/** A sequence of drawn tokens, as told at pp_draw_tokens. @param number  of the sequence */
void pp_draw_chain(uint64_t seed, int64_t number, int32_t length, int64_t vocab,
                   int32_t *tokens /* [length + 1] */);

#endif
