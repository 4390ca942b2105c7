#!/usr/bin/env bash
# imagecorruptions-imaug: two of the corruptions do not obey np.random.seed
#
# One would guess: numpy.random.seed() before corrupt() makes the corrupted image repeatable. It does so
# for gaussian_noise and all others that a quick look would try.
# What happens: it does for 17 of 19. impulse_noise hands its seed, which is None, to scikit-image, which
# makes a fresh generator, and glass_blur draws a seed of its own from one. corrupt(seed=...) reaches these
# two, and raises a TypeError for the other 17: no one call seeds them all.
#
# Version: imagecorruptions-imaug 1.1.5, scikit-image 0.26.0, numba 0.68.1 (Python 3.11), seen on
# 2026-11-28, each corruption twice after the same seed of numpy and of random:
#   expected different: none
#   seen     different: glass_blur, impulse_noise
#   these two with seed=0: none different; the others with seed=0: TypeError
#
# Why it matters: a robustness table compares models on the same corrupted images. Two of its rows differ
# from run to run, which is taken for a difference between checkpoints. Corrupt once and keep the files,
# or give seed= to these two alone.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
"${PYTHON:-python3}" -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check imagecorruptions-imaug==1.1.5 \
    scikit-image==0.26.0 numba==0.68.1 numpy==2.4.6 pillow==13.0.0 opencv-python==5.0.0.93
cd "$dir"
"$dir/venv/bin/python" - <<'PY'
import random
from importlib.metadata import version

import numpy as np
from imagecorruptions import corrupt, get_corruption_names

print('imagecorruptions-imaug', version('imagecorruptions-imaug'))
image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)


def twice(call):
    results = []
    for _ in range(2):
        np.random.seed(1)
        random.seed(1)
        results.append(np.uint8(call()))
    return np.array_equal(*results)


names = get_corruption_names('all')
assert len(names) == 19
different = sorted(name for name in names if not twice(lambda: corrupt(image, corruption_name=name, severity=3)))
print('expected different: none')
print('seen     different:', ', '.join(different))
assert different == ['glass_blur', 'impulse_noise']

for name in names:
    try:
        same = twice(lambda: corrupt(image, corruption_name=name, severity=3, seed=0))
    except TypeError:
        assert name not in different, name
    else:
        assert name in different and same, name
print('these two with seed=0: none different; the others with seed=0: TypeError')
PY
