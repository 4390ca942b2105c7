#!/usr/bin/env bash
# scikit-image: one slightly negative pixel of the original raises the PSNR by 6 dB
#
# One would guess: PSNR of float images in 0..1 has a data range of 1. A pixel of -0.001, as each bicubic
# resize leaves beside a dark edge, changes nothing worth mentioning; and PSNR is symmetric.
# What happens: without data_range the range is guessed from the first image: 1 if nothing in it is below
# 0, otherwise 2 (from -1 to 1), so that the result jumps by 20 log10(2) = 6.02 dB for a single pixel. The
# second image is not asked, so that swapping the two changes the result by as much. structural_similarity,
# its neighbor, refuses to guess.
#
# Version: scikit-image 0.26.0, pillow 13.0.0, numpy 2.4.6 (Python 3.11), seen on 2026-11-28:
#   image in 0..1                     28.36 dB
#   one pixel set to -0.001  expected 28.36   seen 34.38
#   the two swapped          expected 28.36   seen 28.36
#   disc on black, bicubic   expected 29.90   seen 35.92
#
# Why it matters: reconstructions are compared by PSNR, and 6 dB is a large difference there. In one
# mean over a validation set, images with a dark edge and images without are measured by two rules.
# Always give data_range.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
"${PYTHON:-python3}" -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check \
    scikit-image==0.26.0 pillow==13.0.0 numpy==2.4.6
cd "$dir"
"$dir/venv/bin/python" - <<'PY'
import math

import numpy as np
import PIL
import skimage
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

print('scikit-image', skimage.__version__, 'pillow', PIL.__version__)
rng = np.random.default_rng(0)
jump = 20 * math.log10(2)

original = rng.random((64, 64))
original[:8] = 0  # a dark border
rebuilt = np.clip(original + rng.normal(0, 0.04, original.shape), 0, 1)
plain = peak_signal_noise_ratio(original, rebuilt)
print(f'image in 0..1                     {plain:.2f} dB')

touched = original.copy()
touched[0, 0] = -0.001
seen = peak_signal_noise_ratio(touched, rebuilt)
swapped = peak_signal_noise_ratio(rebuilt, touched)
print(f'one pixel set to -0.001  expected {plain:.2f}   seen {seen:.2f}')
print(f'the two swapped          expected {plain:.2f}   seen {swapped:.2f}')
assert abs(seen - plain - jump) < 0.01
assert abs(swapped - plain) < 0.01

# A real cause: a bright disc on black, made smaller by a bicubic filter.
y, x = np.mgrid[-1:1:96j, -1:1:96j]
disc = (0.8 * (x * x + y * y < 0.3)).astype(np.float32)
small = np.asarray(Image.fromarray(disc).resize((64, 64), Image.Resampling.BICUBIC))
assert -0.2 < small.min() < 0 and small.max() < 1
rebuilt = np.clip(small + rng.normal(0, 0.04, small.shape), 0, 1).astype(np.float32)
guessed = peak_signal_noise_ratio(small, rebuilt)
given = peak_signal_noise_ratio(small, rebuilt, data_range=1)
print(f'bicubic resize, lowest value {small.min():.3f}: expected {given:.2f}   seen {guessed:.2f}')
assert abs(guessed - given - jump) < 0.001

try:
    structural_similarity(small, rebuilt)
except ValueError:
    print('structural_similarity asks for data_range')
else:
    raise AssertionError('structural_similarity guesses now')
PY
