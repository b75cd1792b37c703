/* Words for how ranks communicate, shared by `check` and `simulate`. */
#ifndef PP_REPORTS_CLI_COMMS_WORDS_H
#define PP_REPORTS_CLI_COMMS_WORDS_H

#include "sim/check.h"
#include "sim/lower.h"

/* The number of a word among `count`. @return PP_OK, PP_E_USAGE naming the flag and the words */
enum pp_status pp_choose_word(const char *flag, const char *word, const char *const *words,
                              int32_t count, int32_t *chosen_p, struct pp_err *err);

/* --channels rank|pair|directed; --lowering torch|ours|batched; --comms rendezvous|buffered:K.
 * @return PP_OK, PP_E_USAGE, PP_E_RANGE */
enum pp_status pp_channels_word(const char *word, enum pp_channels *channels_p, struct pp_err *err);
enum pp_status pp_lowering_word(const char *word, enum pp_lower_mode *mode_p, struct pp_err *err);
enum pp_status pp_comms_word(const char *word, int32_t *buffer_count_p, struct pp_err *err);

#endif
