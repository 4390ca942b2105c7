#!/usr/bin/env bash
# torch: on a CPU, mixed precision makes the training of attention four times slower, not faster
#
# One would guess: on a processor with bfloat16 instructions, F.scaled_dot_product_attention is faster in bfloat16
# than in float32, and faster than the two products and the softmax that it stands for.
# What happens: that holds without gradients. The backward pass of the fused kernel takes several times as long in
# bfloat16 as in float32, and four to seven times as long as the formula in bfloat16, for sequences as short
# as those that masked autoencoders and ViTs of small images have. With a few hundred tokens it is twice.
#
# Version: torch 2.14.1 (Python 3.11), seen on 2026-11-29, an Intel Xeon with AMX and with its oneDNN held to
# AVX512-BF16 (ONEDNN_MAX_CPU_ISA), one thread, 64 sequences, 6 heads of 32 channels, forward and backward, ms:
#   tokens   float32, fused   bfloat16, fused   bfloat16, formula
#   17       2.9              27                3.5
#   65       17               65                12
#
# Why it matters: torch's autocast on a CPU is switched on to save time. A step of a small MAE took twice as long
# with it as with the formula, longer than in float32, and a profile shows one line, the backward pass, at half
# of the time.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
"${PYTHON:-python3}" -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.14.1 numpy==2.4.6
cd "$dir"
"$dir/venv/bin/python" -W ignore - <<'PY'
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F

print('torch', torch.__version__)
info = Path('/proc/cpuinfo')
if not (info.exists() and 'bf16' in info.read_text()):
    sys.exit('this processor has no bfloat16 instructions, of which the finding speaks')
torch.set_num_threads(1)


def formula(q, k, v):
    return ((q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)).softmax(-1) @ v


def ms(attention, tokens, dtype, grad=True):
    """The fastest of seven."""
    q, k, v = (torch.randn(64, 6, tokens, 32, dtype=dtype, requires_grad=grad) for _ in 'qkv')
    taken = []
    for _ in range(9):
        start = time.perf_counter()
        out = attention(q, k, v)
        if grad:
            out.sum().backward()
        taken.append(time.perf_counter() - start)
    return min(taken[2:]) * 1e3


for tokens in (17, 65):
    fused = F.scaled_dot_product_attention
    exact, half = (ms(fused, tokens, dtype) for dtype in (torch.float32, torch.bfloat16))
    plain = ms(formula, tokens, torch.bfloat16)
    ahead = ms(fused, tokens, torch.bfloat16, grad=False)
    print(
        f'{tokens} tokens, forward and backward: float32 {exact:.1f} ms, bfloat16 {half:.1f} ms, '
        f'by the formula {plain:.1f} ms; forward alone, bfloat16: {ahead:.1f} ms'
    )
    assert half > 2 * exact and half > 2 * plain and ahead < half / 4
PY
echo 'as stated'
