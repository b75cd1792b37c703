"""The operations of bench_kernels.c in PyTorch, on one thread; medians in microseconds.

    OMP_NUM_THREADS=1 python3 torch_kernels.py

Debian's PyTorch computes with whatever libblas.so.3 the loader finds: put OpenBLAS's in front
(LD_LIBRARY_PATH=/usr/lib/x86_64-linux-gnu/openblas-pthread), or products take 40 times as long.
"""
import time

import torch
import torch.nn.functional as F

torch.set_num_threads(1)


def median_us(work):
    work()
    begin = time.process_time()
    work()
    repeats = max(1, int(5e-3 / max(time.process_time() - begin, 1e-6)))
    took = []
    for run in range(-3, 15):
        begin = time.process_time()
        for _ in range(repeats):
            work()
        if run >= 0:
            took.append((time.process_time() - begin) / repeats)
    return sorted(took)[len(took) // 2] * 1e6


def both(name, forward, inputs):
    """Forward as in training; backward alone, on the graph it left."""
    for x in inputs:
        x.requires_grad_(True)
    ahead = median_us(forward)
    y = forward()
    gradient = torch.rand_like(y) if y.dim() else None

    def back():
        torch.autograd.grad(y, inputs, gradient, retain_graph=True)

    print(f"{name:44s} {ahead:10.1f} {median_us(back):10.1f}", flush=True)


print(f"torch {torch.__version__}, us forward, backward")
for T, i, o in ((64, 64, 64), (256, 64, 64), (256, 256, 256), (512, 1024, 1024), (512, 1024, 2816)):
    x, w, dy = torch.rand(T, i), torch.rand(o, i), torch.rand(T, o)
    dw = torch.zeros(o, i)
    with torch.no_grad():
        a = median_us(lambda: F.linear(x, w))
        b = median_us(lambda: dy @ w)
        c = median_us(lambda: dw.addmm_(dy.t(), x))
    print(f"linear {T} x {i} x {o}: forward, input, weight  {a:10.1f} {b:10.1f} {c:10.1f}", flush=True)

for s, t, h, d, kv in ((4, 64, 4, 16, 4), (1, 256, 4, 16, 4), (1, 256, 4, 64, 4), (1, 512, 16, 64, 16),
                       (1, 512, 16, 64, 4), (1, 512, 8, 128, 8)):
    q, k, v = (torch.randn(s, t, n, d).transpose(1, 2) for n in (h, kv, kv))
    both(f"attention {s} x {t}, {h} heads of {d}, {kv} kv",
         lambda: F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=kv != h), [q, k, v])

for T, width in ((256, 64), (512, 1024)):
    x, g = torch.randn(T, width), torch.rand(width)
    both(f"norm {T} x {width}", lambda: F.rms_norm(x, (width,), g, 1e-5), [x, g])
    f = width * 11 // 4
    gate_up = torch.randn(T, 2 * f)

    def swiglu():
        gate, up = gate_up.chunk(2, dim=-1)
        return F.silu(gate) * up

    both(f"swiglu {T} x {f}", swiglu, [gate_up])
    logits = torch.randn(T, width * 4)
    targets = torch.arange(T) % 32
    both(f"cross_entropy {T} x {width * 4}", lambda: F.cross_entropy(logits, targets, reduction="sum"), [logits])
    p = torch.nn.Parameter(torch.randn(T, width))
    p.grad = torch.randn(T, width)
    for fused in (False, True):
        o = torch.optim.AdamW([p], fused=fused)
        print(f"adamw {T} x {width}, fused={fused}  {median_us(o.step):10.1f}", flush=True)
