/**
 * @file nearest.h
 * "Did you mean ...": the known word nearest to what was written. Pure.
 */
#ifndef PP_COSTMODEL_NEAREST_H
#define PP_COSTMODEL_NEAREST_H

#include <stdint.h>

/**
 * The word with the fewest letters inserted, dropped or changed, case ignored; the first among
 * equals.
 * @return NULL if even that one is too far off (more than a third of the longer word) to be meant
 * Cost: O(sum of the words' lengths * length of `word`), words cut at 64 bytes.
 */
const char *pp_nearest(const char *word, const char *const *known, int32_t known_count);

#endif
