#include "reports/cli/comms_words.h"

#include "costmodel/value.h"

#include <string.h>

enum pp_status pp_choose_word(const char *flag, const char *word, const char *const *words,
                              int32_t count, int32_t *chosen_p, struct pp_err *err) {
    struct pp_text all = {0};
    for (int32_t i = 0; i < count; i++) {
        if (strcmp(word, words[i]) == 0) {
            *chosen_p = i;
            pp_text_free(&all);
            return PP_OK;
        }
        pp_text_printf(&all, "%s%s", i == 0 ? "" : i + 1 < count ? ", " : " or ", words[i]);
    }
    pp_fail(err, PP_E_USAGE, "%s: '%.40s' is none of its values; expected %s", flag, word,
            all.bytes == NULL ? "another" : all.bytes);
    pp_text_free(&all);
    return PP_E_USAGE;
}

enum pp_status pp_comms_word(const char *word, int32_t *buffer_count_p, struct pp_err *err) {
    static const char buffered[] = "buffered:";
    if (strncmp(word, buffered, strlen(buffered)) == 0) {
        int64_t count;
        struct pp_err own = {0};
        enum pp_status status =
            pp_parse_int(word + strlen(buffered), 0, PP_SCHED_MAX_LOWERED_ACTIONS, &count, &own);
        if (status != PP_OK) {
            return pp_fail(err, status, "--comms buffered:K: %s", own.message);
        }
        *buffer_count_p = (int32_t)count;
        return PP_OK;
    }
    if (strcmp(word, "rendezvous") == 0) {
        return PP_OK;
    }
    return pp_fail(err, PP_E_USAGE,
                   "--comms: '%.40s' is none of its values; expected rendezvous or buffered:K",
                   word);
}

enum pp_status pp_channels_word(const char *word, enum pp_channels *channels_p,
                                struct pp_err *err) {
    const char *words[PP_CHANNELS_COUNT];
    for (enum pp_channels i = 0; i < PP_CHANNELS_COUNT; i++) {
        words[i] = pp_channels_text(i);
    }
    int32_t chosen;
    PP_TRY(pp_choose_word("--channels", word, words, PP_CHANNELS_COUNT, &chosen, err));
    *channels_p = (enum pp_channels)chosen;
    return PP_OK;
}

enum pp_status pp_lowering_word(const char *word, enum pp_lower_mode *mode_p, struct pp_err *err) {
    const char *words[PP_LOWER_MODE_COUNT];
    for (enum pp_lower_mode i = 0; i < PP_LOWER_MODE_COUNT; i++) {
        words[i] = pp_lower_mode_text(i);
    }
    int32_t chosen;
    PP_TRY(pp_choose_word("--lowering", word, words, PP_LOWER_MODE_COUNT, &chosen, err));
    *mode_p = (enum pp_lower_mode)chosen;
    return PP_OK;
}
