/* The GPUs a recipe runs on: how many, how they divide into replicas, what each one sees of a step.
 * Automodel's rules (36044ad3, components/distributed and training/step_scheduler.py). */
#include "sim/plan_priv.h"

enum { MAX_DP = 1 << 20 };

/* Of a step: the recipe's, or one flush of every replica where it is not given. */
static int64_t global_batch_of(const struct pp_recipe *recipe, int64_t dp_size) {
    return recipe->global_batch_size > 0 ? recipe->global_batch_size
                                         : recipe->local_batch_size * dp_size;
}

static bool dp_is_legal(const struct pp_recipe *r, int64_t dp) {
    int64_t peers = dp * r->cp_size * r->tp_size;
    return peers % r->ep_size == 0 && (r->dp_replicate_size == 0 || dp % r->dp_replicate_size == 0);
}

static bool batch_divides(const struct pp_recipe *r, int64_t dp) {
    return global_batch_of(r, dp) % (r->local_batch_size * dp) == 0;
}

enum pp_status pp_plan_default_gpus(const struct pp_recipe *recipe, int64_t *gpu_count_p,
                                    struct pp_err *err) {
    int64_t replica = (int64_t)recipe->pp_size * recipe->tp_size * recipe->cp_size;
    int64_t nodes_gpus = (int64_t)recipe->node_count * 8;
    if (nodes_gpus > 0 && nodes_gpus % replica == 0 && dp_is_legal(recipe, nodes_gpus / replica)) {
        *gpu_count_p = nodes_gpus;
        return PP_OK;
    }
    if (recipe->dp_size > 0) {
        *gpu_count_p = replica * recipe->dp_size;
        return PP_OK;
    }
    for (int64_t dp = 1; dp <= MAX_DP; dp++) {
        if (dp_is_legal(recipe, dp) && batch_divides(recipe, dp)) {
            *gpu_count_p = replica * dp;
            return PP_OK;
        }
    }
    pp_fail(err, PP_E_WORLD,
            "no number of GPUs satisfies tp %d, cp %d, pp %d, ep %d, global batch %lld and local "
            "batch %d together",
            recipe->tp_size, recipe->cp_size, recipe->pp_size, recipe->ep_size,
            (long long)recipe->global_batch_size, recipe->local_batch_size);
    pp_hint(err, "choose a global batch that is a multiple of the local batch, or give --gpus");
    return PP_E_WORLD;
}

enum pp_status pp_plan_world_init(const struct pp_plan_request *req, int32_t pp_size,
                                  struct pp_plan_world *world_p, struct pp_err *err) {
    const struct pp_recipe *r = req->recipe;
    int64_t replica = (int64_t)r->tp_size * r->cp_size * pp_size;
    if (req->gpu_count < replica || req->gpu_count % replica != 0) {
        pp_fail(err, PP_E_WORLD,
                "%lld GPUs cannot be divided into replicas of tp %d * cp %d * pp %d = %lld",
                (long long)req->gpu_count, r->tp_size, r->cp_size, pp_size, (long long)replica);
        pp_hint(err, "give --gpus a multiple of %lld", (long long)replica);
        return PP_E_WORLD;
    }
    int64_t dp = req->gpu_count / replica;
    if (r->dp_size > 0 && r->dp_size != dp) {
        pp_fail(err, PP_E_WORLD, "distributed.dp_size is %d, but %lld GPUs leave room for %lld",
                r->dp_size, (long long)req->gpu_count, (long long)dp);
        pp_hint(err, "--gpus %lld, or --set distributed.dp_size=none",
                (long long)(replica * r->dp_size));
        return PP_E_WORLD;
    }
    int64_t peers = dp * r->cp_size * r->tp_size;
    if (peers % r->ep_size != 0) {
        pp_fail(err, PP_E_WORLD, "dp %lld * cp %d * tp %d = %lld is not a multiple of ep_size %d",
                (long long)dp, r->cp_size, r->tp_size, (long long)peers, r->ep_size);
        pp_hint(err, "give --gpus so that GPUs / pp (%d) is a multiple of %d", pp_size, r->ep_size);
        return PP_E_WORLD;
    }
    if (r->dp_replicate_size > 0 && dp % r->dp_replicate_size != 0) {
        pp_fail(err, PP_E_WORLD, "dp %lld is not a multiple of dp_replicate_size %d", (long long)dp,
                r->dp_replicate_size);
        pp_hint(err, "--set distributed.dp_replicate_size=none");
        return PP_E_WORLD;
    }
    int64_t global_batch = global_batch_of(r, dp);
    int64_t seq_len = pp_recipe_seq_len(r);
    *world_p = (struct pp_plan_world){
        .req = req,
        .pp_size = pp_size,
        .dp_size = dp,
        .global_batch = global_batch,
        .sequences = global_batch % dp == 0 ? global_batch / dp : 0,
        .seq_len = seq_len > 0 ? seq_len : PP_PLAN_ASSUMED_SEQ_LEN,
    };
    return PP_OK;
}

/* Without a pipeline and with one flush a step the last microbatch is the first: gradients are
 * reduced as they arise, deferred or not. */
static bool defers_grad_sync(const struct pp_plan_world *world, int32_t microbatch_size) {
    return world->req->recipe->defer_fsdp_grad_sync &&
           (world->pp_size > 1 || world->sequences != microbatch_size);
}

struct pp_train pp_plan_train(const struct pp_plan_world *world, int32_t microbatch_size) {
    const struct pp_recipe *r = world->req->recipe;
    return (struct pp_train){
        .seq_len = world->seq_len,
        .microbatch_size = microbatch_size,
        .tp = r->tp_size,
        .cp = r->cp_size,
        .ep = r->ep_size,
        .dp = (int32_t)world->dp_size,
        .dp_replicate = r->dp_replicate_size,
        .pp = world->pp_size,
        .sequence_parallel = r->sequence_parallel,
        .recompute = r->recompute,
        .param_dtype = r->param_dtype,
        .state_dtype = r->model_dtype,
        .reduce_dtype = r->reduce_dtype,
        /* FSDP2 keeps a stage's parameters gathered under a pipeline, and reshards without one */
        .reshard_after_forward =
            r->has_reshard_after_forward ? r->reshard_after_forward : world->pp_size == 1,
        .defer_grad_sync = defers_grad_sync(world, microbatch_size),
        .fused_cross_entropy = r->fused_cross_entropy,
        .peft = r->peft,
        .peft_dim = r->peft_dim,
    };
}
