#!/usr/bin/env python3
"""A training step by PyTorch's own pipeline runtime (torch.distributed.pipelining, gloo, one process
a rank on this machine), of the decoder that `pipeplan run` trains: RMSNorm, grouped-query attention
with RoPE, SwiGLU, cross-entropy, AdamW, float32. Written as PyTorch users write it, with its fused
attention, norm and optimizer. Prints one JSON line with the seconds of every step after the warm-up.

tests/peer/side_by_side.sh runs it against pipeplan."""
import argparse
import json
import os
import socket
import time

os.environ.setdefault("USE_LIBUV", "0")
os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn as nn
import torch.nn.functional as F
from torch.distributed.pipelining import PipelineStage
from torch.distributed.pipelining.schedules import PipelineScheduleSingle, get_schedule_class

EPSILON, THETA = 1e-5, 10000.0


class Attention(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.heads, self.kv_heads, self.width = c.heads, c.kv_heads, c.hidden // c.heads
        self.qkv = nn.Linear(c.hidden, (c.heads + 2 * c.kv_heads) * self.width, bias=False)
        self.out = nn.Linear(c.heads * self.width, c.hidden, bias=False)
        speed = THETA ** (-torch.arange(self.width // 2) / (self.width // 2))
        angle = torch.arange(c.seq)[:, None] * speed
        self.register_buffer("cos", angle.cos(), persistent=False)
        self.register_buffer("sin", angle.sin(), persistent=False)

    def rotate(self, x):
        a, b = x.chunk(2, -1)
        return torch.cat((a * self.cos - b * self.sin, b * self.cos + a * self.sin), -1)

    def forward(self, x):
        batch, length, _ = x.shape
        heads = self.qkv(x).view(batch, length, -1, self.width).transpose(1, 2)
        q, k, v = heads.split((self.heads, self.kv_heads, self.kv_heads), 1)
        o = F.scaled_dot_product_attention(self.rotate(q), self.rotate(k), v, is_causal=True,
                                           enable_gqa=self.kv_heads != self.heads)
        return self.out(o.transpose(1, 2).reshape(batch, length, -1))


class Block(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.norm1, self.norm2 = nn.RMSNorm(c.hidden, EPSILON), nn.RMSNorm(c.hidden, EPSILON)
        self.attention = Attention(c)
        self.gate_up = nn.Linear(c.hidden, 2 * c.ffn, bias=False)
        self.down = nn.Linear(c.ffn, c.hidden, bias=False)

    def forward(self, x):
        x = x + self.attention(self.norm1(x))
        gate, up = self.gate_up(self.norm2(x)).chunk(2, -1)
        return x + self.down(F.silu(gate) * up)


class Stage(nn.Module):
    def __init__(self, c, stage, count):
        super().__init__()
        layers = c.layers // count
        self.embed = nn.Embedding(c.vocab, c.hidden) if stage == 0 else nn.Identity()
        self.blocks = nn.Sequential(*(Block(c) for _ in range(layers)))
        last = stage == count - 1
        self.norm = nn.RMSNorm(c.hidden, EPSILON) if last else nn.Identity()
        self.head = nn.Linear(c.hidden, c.vocab, bias=False) if last else nn.Identity()

    def forward(self, x):
        return self.head(self.norm(self.blocks(self.embed(x))))


def loss_of(logits, targets):
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def stage_numbers(c, rank, count):
    if c.schedule in ("ZBVZeroBubble", "DualPipeV"):
        return [rank, count - 1 - rank]
    return list(range(rank, count, c.world))


def work(rank, c, queue):
    torch.set_num_threads(1)
    torch.manual_seed(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{c.port}", rank=rank,
                            world_size=c.world)
    kind = get_schedule_class(c.schedule)
    single = issubclass(kind, PipelineScheduleSingle)
    count = c.world if single else 2 * c.world
    numbers = stage_numbers(c, rank, count)
    modules = [Stage(c, number, count) for number in numbers]
    stages = [PipelineStage(m, n, count, torch.device("cpu")) for m, n in zip(modules, numbers)]
    schedule = kind(stages[0] if single else stages, c.microbatches, loss_fn=loss_of)
    parameters = [p for m in modules for p in m.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1,
                                  fused=True)
    tokens = torch.randint(c.vocab, (c.microbatches * c.microbatch_size, c.seq + 1))
    seconds = []
    for step in range(c.warmup + c.steps):
        dist.barrier()
        start = time.monotonic()
        optimizer.zero_grad()
        inputs = (tokens[:, :-1],) if 0 in numbers else ()
        targets = {"target": tokens[:, 1:], "losses": []} if count - 1 in numbers else {}
        schedule.step(*inputs, **targets)
        optimizer.step()
        took = torch.tensor([time.monotonic() - start])
        dist.all_reduce(took, op=dist.ReduceOp.MAX)
        if step >= c.warmup:
            seconds.append(took.item())
    if rank == 0:
        queue.put(seconds)
    dist.barrier()
    dist.destroy_process_group()


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--schedule", default="1F1B")
    for name, value in dict(world=2, hidden=64, layers=4, heads=4, kv_heads=4, ffn=0, vocab=256,
                            seq=64, microbatches=8, microbatch_size=1, steps=10, warmup=3).items():
        p.add_argument("--" + name.replace("_", "-"), type=int, default=value)
    c = p.parse_args()
    c.ffn = c.ffn or 4 * c.hidden
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        c.port = s.getsockname()[1]
    context = mp.get_context("spawn")
    queue = context.Queue()
    ranks = [context.Process(target=work, args=(rank, c, queue)) for rank in range(c.world)]
    for rank in ranks:
        rank.start()
    seconds = queue.get(timeout=540)
    for rank in ranks:
        rank.join()
    print(json.dumps({"torch": torch.__version__, "seconds": seconds}))


if __name__ == "__main__":
    main()
