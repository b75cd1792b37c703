/**
 * @file nearest.h
 * "Did you mean ...": the known word nearest to what was written. Pure.
 */
#ifndef PP_COSTMODEL_NEAREST_H
#define PP_COSTMODEL_NEAREST_H

#include <stdint.h>

/**
 * Letters to insert, drop or change to make one word of the other, case ignored; of words longer
 * than 64 bytes the rest does not count. Cost: O(product of the lengths).
 */
int32_t pp_word_distance(const char *a, const char *b);

/**
 * The known word at the least distance; the first among equals.
 * @return NULL if even that one is too far off (more than a third of the longer word) to be meant
 */
const char *pp_nearest(const char *word, const char *const *known, int32_t known_count);

#endif
