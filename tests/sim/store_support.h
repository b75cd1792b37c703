/* A planning run stored in a database of the test's own, for tests of the store and of its readers.
 */
#ifndef PP_TESTS_STORE_SUPPORT_H
#define PP_TESTS_STORE_SUPPORT_H

#include "tests/sim/plan_support.h"
#include "tests/sim/sqlite_support.h"

#include "sim/store.h"

#include <stdlib.h>
#include <unistd.h>

struct stored {
    struct bed bed;
    struct pp_plan_set *set;
    struct pp_run_inputs inputs;
    char run_id[33];
    char path[64];
};

static inline void stored_init(struct stored *s) {
    bed_init(&s->bed, deepseek_recipe, NULL);
    s->inputs = (struct pp_run_inputs){
        .recipe_path = "recipe.yaml",
        .recipe_text = deepseek_recipe,
        .settings = "[]",
        .model_name = "deepseek-ai/DeepSeek-V3",
        .hardware_name = "h100-sxm",
        .hardware_text = "name: h100-sxm",
        .gpu_count = 256,
    };
    cr_assert_eq(pp_run_id(&s->inputs, s->run_id, NULL), PP_OK);
    s->bed.request.run_id = s->run_id;
    s->set = bed_search(&s->bed);
    strcpy(s->path, "/tmp/pp_store_XXXXXX");
    close(mkstemp(s->path));
}

static inline void stored_deinit(struct stored *s) {
    char side[80];
    pp_plan_set_destroy(s->set);
    bed_deinit(&s->bed);
    unlink(s->path);
    snprintf(side, sizeof side, "%s-wal", s->path);
    unlink(side);
    snprintf(side, sizeof side, "%s-shm", s->path);
    unlink(side);
}

static inline bool stored_add(struct stored *s) {
    struct pp_store *store = NULL;
    struct pp_err err = {0};
    bool added = false;
    cr_assert_eq(pp_store_open(s->path, &store, &err), PP_OK, "%s", err.message);
    cr_assert_eq(
        pp_store_add_run(store, &s->inputs, s->bed.recipe, s->set, s->run_id, NULL, &added, &err),
        PP_OK, "%s", err.message);
    pp_store_close(store);
    return added;
}

#endif
