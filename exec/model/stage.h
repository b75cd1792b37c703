/**
 * @file stage.h
 * One stage of a model on one rank: its parameters, and F, I and W over its modules. What a pass
 * keeps goes to the stash (stash.h), what it needs only for itself to scratch memory that the
 * stages of a rank share: a rank runs one action at a time.
 */
#ifndef PP_EXEC_MODEL_STAGE_H
#define PP_EXEC_MODEL_STAGE_H

#include "exec/device.h"
#include "exec/model/layout.h"
#include "exec/model/profile.h"
#include "exec/model/stash.h"

/** Device memory, large enough for every stage of a rank. */
struct pp_scratch {
    void *grad;             /* act [T][hidden] gradient of the residual stream */
    void *hidden;           /* act [T][hidden] */
    void *inner;            /* act: the widest inner activation: heads, ffn, experts' rows */
    void *qkv;              /* act [T][q, k, v] */
    void *rows;             /* act [rows][hidden], or the router's logits */
    float *row_weight_grad; /* [T][experts_per_token] */
    int32_t *targets;       /* [T] */
};

struct pp_stage {
    int32_t stage; /* of the schedule */
    int32_t part;  /* of the model */
    const struct pp_shape *shape;
    struct pp_stage_modules modules;
    struct pp_batch_shape batch;
    const struct pp_device_ops *device;
    void *context; /* the device's */
    int64_t act_bytes;
    const struct pp_layout *layout;
    struct pp_stash stash;
    float *params, *grads, *m, *v; /* blocks of the layout, on the device */
    void *weights;                 /* params, or their copy in the activation type */
    const struct pp_scratch *scratch;
    struct pp_profile *profile;
};

/** Buffers of one action. */
struct pp_buffers {
    void *input, *output, *output_grad, *input_grad;
    char *stash;
    double *loss;     /* F of the last stage adds the microbatch's loss, times tokens */
    float loss_scale; /* of the logits' gradient */
};

/* F expects ids in the stash and targets in scratch where the stage needs them. */
void pp_stage_forward(const struct pp_stage *s, const struct pp_buffers *b);
void pp_stage_input_grad(const struct pp_stage *s, const struct pp_buffers *b);
void pp_stage_weight_grad(const struct pp_stage *s, const struct pp_buffers *b);

/* ---- what the files of this folder share ---- */

static inline int64_t pp_stage_tokens(const struct pp_stage *s) {
    return pp_batch_tokens(&s->batch);
}
/** Of the residual stream: what goes from stage to stage. */
static inline int64_t pp_stage_stream_bytes(const struct pp_stage *s) {
    return pp_stage_tokens(s) * s->shape->hidden * s->act_bytes;
}
static inline const void *pp_stage_weight(const struct pp_stage *s, int64_t offset) {
    return (const char *)s->weights + offset * s->act_bytes;
}

/* block.c: x2 = x + attention of norm(x). `i` counts the layers of the stage. `grad` is the
 * gradient of x2 and becomes that of x. */
void pp_block_forward(const struct pp_stage *s, int32_t i, char *stash, const void *x);
void pp_block_input_grad(const struct pp_stage *s, int32_t i, char *stash, const void *x,
                         void *grad);
void pp_block_weight_grad(const struct pp_stage *s, int32_t i, char *stash);

/* mlp.c: y = x2 + MLP of norm(x2), dense or a mixture. `grad` of y becomes that of x2 and is left
 * in x2's place. `y_grad` is what I was given. */
void pp_mlp_forward(const struct pp_stage *s, int32_t i, char *stash, void *y);
void pp_mlp_input_grad(const struct pp_stage *s, int32_t i, char *stash, void *grad);
void pp_mlp_weight_grad(const struct pp_stage *s, int32_t i, char *stash, const void *y_grad);

/* moe.c: y += experts of h2; h_grad gets the gradient of h2 (it is overwritten). */
void pp_moe_forward(const struct pp_stage *s, int32_t i, char *stash, void *y);
void pp_moe_input_grad(const struct pp_stage *s, int32_t i, char *stash, const void *y_grad,
                       void *h_grad);
void pp_moe_weight_grad(const struct pp_stage *s, int32_t i, char *stash);

/* head.c: final norm, head and loss; grad gets the gradient of x. */
void pp_head_forward(const struct pp_stage *s, const struct pp_buffers *b, const void *x);
void pp_head_input_grad(const struct pp_stage *s, const struct pp_buffers *b, const void *x,
                        void *grad);

#endif
