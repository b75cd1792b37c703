#!/usr/bin/env python3
"""Content ids of DualPipe's and DualPipeV's orders, for the table in tests/sim/test_gen_dualpipe.c:

    python3 tests/tools/dualpipe_ids.py ../shared/golden/schedules/orders

The orders were recorded from DeepSeek's own step(), with computation and communication replaced by
recorders. Their B is the backward for the input, BW the full one, FB an overlapped pair; DualPipe's
second copy, and DualPipeV's way back, are the stages after the first p here.
"""
import csv
import glob
import hashlib
import re
import sys

KIND = {"F": "F", "B": "I", "W": "W", "BW": "B"}


def cells(path, ranks):
    rows = [[] for _ in range(ranks)]
    with open(path) as f:
        for r in csv.DictReader(f):
            rank = int(r["rank"])
            if "event" in r:  # the files with communication: phase.direction.microbatch, twice
                op, d = r["event"], r["detail"].split(".")
                if op == "COMMIT":
                    continue
                parts = [(int(d[i + 1]), int(d[i + 2])) for i in range(0, len(d), 3)]
            else:
                op, parts = r["op"], [(int(r["dir"]), int(r["mb"]))]
                if r["b_mb"]:
                    parts.append((int(r["b_dir"]), int(r["b_mb"])))
            at = [(rank if d == 0 else 2 * ranks - 1 - rank, m) for d, m in parts]
            if op == "FB":
                rows[rank].append("(%dF%d;%dB%d)OVERLAP_F_B" % (*at[0], *at[1]))
            else:
                rows[rank].append("%d%s%d" % (at[0][0], KIND[op], at[0][1]))
    return "".join(",".join(row) + "\r\n" for row in rows)


for path in sorted(glob.glob(sys.argv[1] + "/dualpipe*.csv")):
    name, ranks, microbatches = re.search(r"(dualpipev?)_p(\d+)_m(\d+)", path).groups()
    text = cells(path, int(ranks))
    print(name, ranks, microbatches, hashlib.sha256(text.encode()).hexdigest()[:16])
