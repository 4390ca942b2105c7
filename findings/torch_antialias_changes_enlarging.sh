#!/usr/bin/env bash
# torch: interpolate(antialias=True) changes a bicubic ENLARGEMENT
#
# One would guess: antialiasing widens the filter when an image is made smaller. When it is made larger there
# is nothing to widen, and the flag does nothing; for "bilinear" that is so.
# What happens: for "bicubic" the flag also picks another kernel: Keys' cubic with a = -0.5 (Pillow's) instead
# of a = -0.75 (OpenCV's). All enlargements differ, at equal size nothing does.
#
# Version: torch 2.14.1, numpy 2.4.6 (Python 3.11), seen on 2026-11-28, a grid of 14 x 14 random values:
#   bilinear to 28 x 28   expected 0, seen 4e-16
#   bicubic  to 28 x 28   expected 0, seen a largest difference of 0.30, 8.5% of the deviation
#   bicubic  to 16 x 16   expected 0, seen 0.28, 8.3%
#   hand-made Keys kernel: a = -0.75 equals antialias=False, a = -0.5 equals antialias=True
#
# Why it matters: position embeddings are enlarged by "bicubic" when a ViT moves to larger images, and
# libraries differ in the flag: timm 1.0.31 sets it by default, the ViT of transformers 5.24.0 does not. So the
# same checkpoint gives different features, from an argument that seems to have no part in it. Use the flag
# that the weights were fine-tuned with.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
"${PYTHON:-python3}" -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.14.1 numpy==2.4.6
cd "$dir"
OMP_NUM_THREADS=1 "$dir/venv/bin/python" - <<'PY'
import torch
import torch.nn.functional as F

print('torch', torch.__version__.split('+')[0])
torch.manual_seed(0)
grid = torch.randn(1, 3, 14, 14, dtype=torch.float64)


def keys(x, a):
    """Keys' cubic kernel."""
    x = abs(x)
    if x <= 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * (x**3 - 5 * x**2 + 8 * x - 4) if x < 2 else 0.0


def matrix(old, new, a):
    """The weights of the old positions in each of the new ones, away from the border."""
    rows = torch.zeros(new, old, dtype=torch.float64)
    for i in range(new):
        center = (i + 0.5) * old / new - 0.5
        for j in range(old):
            rows[i, j] = keys(center - j, a)
    return rows


for mode, size in (('bilinear', 28), ('bicubic', 28), ('bicubic', 16), ('bicubic', 14)):
    plain = F.interpolate(grid, (size, size), mode=mode, antialias=False)
    flagged = F.interpolate(grid, (size, size), mode=mode, antialias=True)
    largest = float((plain - flagged).abs().max())
    share = float((plain - flagged).std() / plain.std())
    print(f'{mode:8} 14 to {size}: expected 0, seen {largest:.2g} ({share:.1%} of the deviation)')
    if mode == 'bilinear' or size == 14:
        assert largest < 1e-5
        continue
    assert share > 0.05
    inner = slice(8, -8) if size == 28 else slice(4, -4)
    for a, result in ((-0.75, plain), (-0.5, flagged)):
        by_hand = matrix(14, size, a) @ grid @ matrix(14, size, a).T
        gap = float((by_hand - result)[..., inner, inner].abs().max())
        assert gap < 1e-5, (a, gap)
print("Keys' kernel by hand: a = -0.75 equals antialias=False, a = -0.5 equals antialias=True")
PY
