#!/usr/bin/env python3
"""The transformer of exec/model/transformer.h in PyTorch: same shape, same drawn parameters and
tokens, AdamW, on the CPU. Prints the loss of each step, in float32 and in float64 (from the same
float32 parameters); tests/exec/torch_losses.tsv is its output.

A mixture's choice of experts is not continuous: where the second and third of them are equal to
within rounding, float32 may choose otherwise than float64, and from there the losses part. With
about half of all seeds PyTorch's own two runs part so, by 1e-4 to 4e-3 within 30 steps. SEED is one
with which they do not (seeds argument: shows it for others), so that a loss that is off says
something about who computed it.

usage: train_reference.py >torch_losses.tsv
       train_reference.py 1 2 3      for each seed how far float32 and float64 part
(in a root with PyTorch, ../shared/tools/torch_root.sh ROOT; OpenBLAS in front, one thread:
 chroot ROOT env OMP_NUM_THREADS=1 LD_LIBRARY_PATH=/usr/lib/x86_64-linux-gnu/openblas-pthread
 python3 /tmp/train_reference.py)
"""
import math
import sys

import numpy as np
import torch
import torch.nn.functional as F

STEPS = 30
SEED = 8
SEQUENCES, LENGTH, MICROBATCHES = 2, 32, 4

COMMON = dict(layers=4, hidden=64, vocab=96, heads=4, kv_heads=2, head_dim=16, ffn=160,
              rope_theta=10000.0, norm_epsilon=1e-5, window=0, windowed=(), moe=())
MODELS = {
    "dense": dict(COMMON, window=8, windowed=(1, 3)),
    "moe": dict(COMMON, moe=(1, 2, 3), experts=8, experts_per_token=2, expert_ffn=48,
                shared_ffn=64),
}
ADAMW = dict(lr=3e-3, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1)


# ---- numbers by counter ----

def mix(x):
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def stream_of(name):
    value = 0xCBF29CE484222325
    for byte in name.encode():
        value = ((value ^ byte) * 0x100000001B3) % 2**64
    return np.uint64(value)


def draw_bits(name, indices):
    """24 random bits for each index of a stream."""
    with np.errstate(over="ignore"):
        seed = mix(np.array([SEED], dtype=np.uint64))
        return mix(mix(seed ^ stream_of(name)) ^ indices.astype(np.uint64)) >> np.uint64(40)


def draw_parameter(name, shape, scale):
    if scale is None:
        return torch.ones(shape)
    bits = draw_bits(name, np.arange(math.prod(shape)))
    values = ((bits.astype(np.int64) - 2**23) / 2**23).astype(np.float32) * np.float32(scale)
    return torch.from_numpy(values.reshape(shape))


def draw_sequence(number, vocab):
    bits = draw_bits("tokens", np.arange(number * (LENGTH + 1), (number + 1) * (LENGTH + 1)))
    tokens = []
    for i, b in enumerate(int(b) for b in bits):
        fresh = i == 0 or b % 8 == 0
        tokens.append(b * vocab >> 24 if fresh else (5 * tokens[-1] + 7) % vocab)
    return tokens


def draw_microbatch(step, microbatch, vocab):
    first = (step * MICROBATCHES + microbatch) * SEQUENCES
    tokens = torch.tensor([draw_sequence(first + i, vocab) for i in range(SEQUENCES)])
    return tokens[:, :-1], tokens[:, 1:]


# ---- the model ----

def parameters_of(m):
    """name -> tensor; a scale of None means ones."""
    d, q, kv = m["hidden"], m["heads"] * m["head_dim"], m["kv_heads"] * m["head_dim"]
    shapes = {"model.embed_tokens.weight": ((m["vocab"], d), 1 / 32)}

    def matrix(name, rows, width):
        shapes[name] = ((rows, width), 1 / math.sqrt(width))

    def mlp(prefix, ffn):
        matrix(prefix + "gate_proj.weight", ffn, d)
        matrix(prefix + "up_proj.weight", ffn, d)
        matrix(prefix + "down_proj.weight", d, ffn)

    for layer in range(m["layers"]):
        at = f"model.layers.{layer}."
        shapes[at + "input_layernorm.weight"] = ((d,), None)
        shapes[at + "post_attention_layernorm.weight"] = ((d,), None)
        matrix(at + "self_attn.q_proj.weight", q, d)
        matrix(at + "self_attn.k_proj.weight", kv, d)
        matrix(at + "self_attn.v_proj.weight", kv, d)
        matrix(at + "self_attn.o_proj.weight", d, q)
        if layer in m["moe"]:
            n, ffn = m["experts"], m["expert_ffn"]
            matrix(at + "mlp.gate.weight", n, d)
            shapes[at + "mlp.experts.gate_up_proj"] = ((n, 2 * ffn, d), 1 / math.sqrt(d))
            shapes[at + "mlp.experts.down_proj"] = ((n, d, ffn), 1 / math.sqrt(ffn))
            mlp(at + "mlp.shared_experts.", m["shared_ffn"])
        else:
            mlp(at + "mlp.", m["ffn"])
    shapes["model.norm.weight"] = ((d,), None)
    matrix("lm_head.weight", m["vocab"], d)
    return {n: draw_parameter(n, s, scale).requires_grad_() for n, (s, scale) in shapes.items()}


def norm(x, weight, epsilon):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + epsilon) * weight


def rotate(x, theta):
    """x [sequence, head, position, head_dim], pairs (i, i + head_dim / 2)"""
    half = x.shape[-1] // 2
    speed = theta ** (-torch.arange(half, dtype=torch.float64) / half)
    angle = torch.arange(x.shape[-2], dtype=torch.float64)[:, None] * speed
    cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    a, b = x[..., :half], x[..., half:]
    return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)


def attention(m, w, at, layer, x):
    def heads(name, count):
        y = F.linear(x, w[at + f"self_attn.{name}_proj.weight"])
        return y.view(SEQUENCES, LENGTH, count, m["head_dim"]).transpose(1, 2)

    q = rotate(heads("q", m["heads"]), m["rope_theta"])
    k = rotate(heads("k", m["kv_heads"]), m["rope_theta"])
    v = heads("v", m["kv_heads"])
    group = m["heads"] // m["kv_heads"]
    k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
    back = torch.arange(LENGTH)[:, None] - torch.arange(LENGTH)[None, :]
    seen = back >= 0
    if layer in m["windowed"]:
        seen &= back < m["window"]
    scores = q @ k.transpose(-1, -2) / math.sqrt(m["head_dim"])
    o = scores.masked_fill(~seen, -math.inf).softmax(-1) @ v
    o = o.transpose(1, 2).reshape(SEQUENCES, LENGTH, -1)
    return F.linear(o, w[at + "self_attn.o_proj.weight"])


def dense(w, prefix, x):
    gate = F.linear(x, w[prefix + "gate_proj.weight"])
    up = F.linear(x, w[prefix + "up_proj.weight"])
    return F.linear(F.silu(gate) * up, w[prefix + "down_proj.weight"])


def mixture(m, w, at, x):
    rows = x.reshape(-1, m["hidden"])
    probability = F.linear(rows, w[at + "mlp.gate.weight"]).softmax(-1)
    weight, choice = probability.topk(m["experts_per_token"], dim=-1)
    weight = weight / weight.sum(-1, keepdim=True)
    y = torch.zeros_like(rows)
    for expert in range(m["experts"]):
        token, place = (choice == expert).nonzero(as_tuple=True)
        gate, up = F.linear(rows[token], w[at + "mlp.experts.gate_up_proj"][expert]).chunk(2, -1)
        out = F.linear(F.silu(gate) * up, w[at + "mlp.experts.down_proj"][expert])
        y = y.index_add(0, token, weight[token, place, None] * out)
    return y.view_as(x) + dense(w, at + "mlp.shared_experts.", x)


def loss_of(m, w, ids, targets):
    x = F.embedding(ids, w["model.embed_tokens.weight"])
    for layer in range(m["layers"]):
        at = f"model.layers.{layer}."
        h = norm(x, w[at + "input_layernorm.weight"], m["norm_epsilon"])
        x = x + attention(m, w, at, layer, h)
        h = norm(x, w[at + "post_attention_layernorm.weight"], m["norm_epsilon"])
        x = x + (mixture(m, w, at, h) if layer in m["moe"] else dense(w, at + "mlp.", h))
    x = norm(x, w["model.norm.weight"], m["norm_epsilon"])
    logits = F.linear(x, w["lm_head.weight"])
    return F.cross_entropy(logits.view(-1, m["vocab"]), targets.reshape(-1))


def train(name, dtype):
    """@return the loss of each step"""
    m = MODELS[name]
    w = {n: p.detach().to(dtype).requires_grad_() for n, p in parameters_of(m).items()}
    optimizer = torch.optim.AdamW(w.values(), **ADAMW)
    losses = []
    for step in range(STEPS):
        optimizer.zero_grad()
        total = 0.0
        for microbatch in range(MICROBATCHES):
            loss = loss_of(m, w, *draw_microbatch(step, microbatch, m["vocab"]))
            (loss / MICROBATCHES).backward()
            total += loss.item()
        optimizer.step()
        losses.append(total / MICROBATCHES)
    return losses


def show_parting(seed):
    global SEED
    SEED = seed
    for name in MODELS:
        pairs = zip(train(name, torch.float32), train(name, torch.float64))
        print(f"seed {seed} {name}: float32 off by {max(abs(a - b) / b for a, b in pairs):.2g}")


def main():
    torch.set_num_threads(1)
    if len(sys.argv) > 1:
        for seed in sys.argv[1:]:
            show_parting(int(seed))
        return
    print(f"# Losses by tests/peer/train_reference.py, PyTorch {torch.__version__} on the CPU.")
    print("# The script says which models these are, why this seed, and how to run it.")
    print("model\tstep\tloss_float32\tloss_float64")
    for name in MODELS:
        rows = zip(train(name, torch.float32), train(name, torch.float64))
        for step, (single, double) in enumerate(rows):
            print(f"{name}\t{step}\t{single:.9g}\t{double:.9g}")


if __name__ == "__main__":
    main()
