#!/usr/bin/env python3
"""Writes the compact golden tables of tests/sim from the full ones (see tests/sim/README.md).

    python3 tests/tools/make_schedule_golden.py <folder with torch/ and nemo/> tests/sim
"""
import csv, hashlib, os, sys

golden, out = sys.argv[1:3]
DIGITS = 16


def rows(path):
    with open(os.path.join(golden, path), newline='') as f:
        yield from csv.DictReader(f, delimiter='\t', quoting=csv.QUOTE_NONE)


def executed(name, pp, m):
    """The orders that PyTorch executes for its single-stage schedules; its own lists for them
    carry REDUCE_GRAD and, for 1F1B, a wrong last rank."""
    text = ''
    for r in range(pp):
        if name == 'GPipe':
            cells = [f'{r}F{i}' for i in range(m)] + [f'{r}B{i}' for i in range(m)]
        else:
            k = min(pp - 1 - r, m)
            cells = [f'{r}F{i}' for i in range(k)]
            for i in range(m - k):
                cells += [f'{r}F{k + i}', f'{r}B{i}']
            cells += [f'{r}B{i}' for i in range(m - k, m)]
        text += ','.join(cells) + '\r\n'
    return text


def write(name, head, lines):
    with open(os.path.join(out, name), 'w') as f:
        f.write('# ' + head + '\n')
        f.writelines('\t'.join(map(str, line)) + '\n' for line in lines)


lines = []
for r in rows('torch/index.tsv'):
    valid, sha, pp, v, m = int(r['valid']), r['csv_sha256'], int(r['pp']), int(r['v']), int(r['mb'])
    single = r['schedule'] in ('GPipe', '1F1B')
    if m == 0 or (single and v != 1):
        valid = 0  # PyTorch builds an empty list; we refuse
    if valid and single:
        sha = hashlib.sha256(executed(r['schedule'], pp, m).encode()).hexdigest()
    lines.append((r['schedule'], pp, v, m, valid, sha[:DIGITS] if valid else '-',
                  r['comms_sha256'][:DIGITS] or '-'))
write('torch_index.tsv', 'schedule pp v microbatches valid sha256 comms_sha256', lines)

lines = []
for r in rows('torch/custom.tsv'):
    # one line a schedule: the rows of the file joined by '/'
    with open(os.path.join(golden, 'torch', r['file']), newline='') as f:
        text = f.read()
    assert text.endswith('\r\n') and '/' not in text
    lines.append((r['pp'], r['num_stages'], r['mb'], r['stage_to_rank'], r['csv_sha256'][:DIGITS],
                  r['comms_sha256'][:DIGITS], text[:-2].replace('\r\n', '/')))
write('torch_custom.tsv', 'ranks stages microbatches stage_rank sha256 comms_sha256 rows', lines)

lines = []
for r in rows('nemo/schedule_accept.tsv'):
    if not r['schedule'].startswith('PipelineSchedule'):
        lines.append((r['schedule'], r['pp_size'], r['stages_per_rank'], r['n_microbatches'],
                      int(r['status'] == 'ok')))
write('automodel_accept.tsv', 'schedule pp v microbatches accepted', lines)
