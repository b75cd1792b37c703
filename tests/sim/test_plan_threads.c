#include "tests/sim/plan_support.h"

/* Everything about a plan that is not a pointer, and what the pointers point to. */
static void add_plan(struct pp_sha256 *h, const struct pp_plan *p) {
    struct pp_text t = {0};
    pp_text_printf(&t, "%s %d %d %d %lld %lld %lld %lld %.17g %lld %lld %d %s\n", p->id,
                   p->stage_count, p->stages_per_rank, p->microbatch_count,
                   (long long)p->flush_count, (long long)p->dp_size, (long long)p->flush_ns,
                   (long long)p->step_ns, p->bubble_ratio, (long long)p->max_peak_bytes,
                   (long long)p->limit_bytes, p->fits, p->why);
    pp_text_printf(&t, "%lld %lld %lld %lld ", (long long)p->flushes_ns,
                   (long long)p->step_cost.grad_sync_ns, (long long)p->step_cost.param_gather_ns,
                   (long long)p->step_cost.optimizer_ns);
    for (int cause = 0; cause < PP_CAUSE_COUNT; cause++) {
        pp_text_printf(&t, "%lld ", (long long)p->idle_ns[cause]);
    }
    for (int32_t s = 0; s < p->stage_count; s++) {
        pp_text_printf(&t, "%d %d %lld ", p->layer_counts[s], p->stage_rank[s],
                       (long long)p->stage_costs[s].f_ns);
    }
    for (int32_t r = 0; r < p->config.pp_size; r++) {
        pp_text_printf(&t, "%lld %lld %d %d ", (long long)p->peak_bytes[r],
                       (long long)p->base_bytes[r], p->peak_stage[r], p->peak_microbatch[r]);
    }
    pp_sha256_add(h, t.bytes, t.size);
    pp_text_free(&t);
}

static void hash_search(struct bed *b, int32_t threads, char hex[65], int32_t *plan_count_p) {
    struct pp_sha256 h;
    b->request.thread_count = threads;
    struct pp_plan_set *set = bed_search(b);
    pp_sha256_begin(&h);
    char text[96];
    pp_sha256_add(&h, text,
                  (size_t)snprintf(text, sizeof text, "%d %d %d %d %lld\n", set->current_index,
                                   set->best, set->best_same_memory, set->other_round,
                                   (long long)set->considered_count));
    for (int32_t i = 0; i < set->plan_count; i++) {
        add_plan(&h, &set->plans[i]);
    }
    pp_sha256_end(&h, hex);
    *plan_count_p = set->plan_count;
    pp_plan_set_destroy(set);
}

Test(plan_threads, any_number_of_threads_gives_the_same_set) {
    static const char *const settings[] = {"step_scheduler.global_batch_size", "2048", NULL};
    const int32_t threads[] = {2, 3, 8, 100, 0};
    struct bed b;
    bed_init(&b, deepseek_recipe, settings);
    b.request.search_pp = true;
    char first[65];
    int32_t plan_count;
    hash_search(&b, 1, first, &plan_count);
    cr_assert_gt(plan_count, 300);
    for (size_t i = 0; i < sizeof threads / sizeof threads[0]; i++) {
        char hex[65];
        hash_search(&b, threads[i], hex, &plan_count);
        cr_assert_str_eq(hex, first, "%d threads", threads[i]);
    }
    bed_deinit(&b);
}

/* Settings of all groups are counted, refused ones included. */
Test(plan_threads, settings_looked_at_are_counted) {
    struct bed b;
    bed_init(&b, deepseek_recipe, NULL);
    for (int32_t threads = 1; threads <= 2; threads++) {
        b.request.thread_count = threads;
        struct pp_plan_set *set = bed_search(&b);
        cr_assert_eq(set->plan_count, 81);
        cr_assert_eq(set->considered_count, 451);
        pp_plan_set_destroy(set);
    }
    bed_deinit(&b);
}

static const volatile sig_atomic_t stopped = 1;

Test(plan_threads, a_stop_request_ends_the_search_of_any_number_of_threads) {
    for (int32_t threads = 1; threads <= 8; threads++) {
        struct bed b;
        struct pp_plan_set *set = NULL;
        struct pp_err err = {0};
        bed_init(&b, deepseek_recipe, NULL);
        b.request.stop = &stopped;
        b.request.thread_count = threads;
        cr_assert_eq(pp_plan_search(&b.request, &set, &err), PP_E_INTERRUPTED);
        cr_assert_str_eq(err.message, "interrupted; nothing was stored");
        bed_deinit(&b);
    }
}
