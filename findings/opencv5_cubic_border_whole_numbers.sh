#!/usr/bin/env bash
# OpenCV 5.0.0: warpAffine and remap with INTER_CUBIC cut the fractions off along the border of a float64 image
#
# One would guess: under the identity an image stays as it is, in float64 as in float32, as it did in OpenCV 4.
# What happens: of float64 images, each pixel whose 4 x 4 neighborhood reaches beyond the image comes out as a
# whole number, rounded down: 145.5 becomes 145, and what lies between 0 and 1 becomes 0. These are one row and
# column at the top and left, two at the bottom and right. The border mode changes nothing, and remap with the same
# grid does the same. float32, INTER_LINEAR and INTER_LANCZOS4 are right.
#
# Version: opencv-python-headless 5.0.0.93 and 4.12.0.88 (Python 3.11, numpy 2.2.6), seen on 2026-11-28, the
# identity on a random image of 16 x 16, number of pixels that changed:
#             cubic, float64   cubic, float32   linear, float64   Lanczos, float64
#   4.12.0    0                0                0                 0
#   5.0.0     87               0                0                 0
#
# Why it matters: numpy computes in float64 by default. Images in [0, 1], heat maps and other soft targets that are
# turned or shifted get a black frame; of patches of 8 x 8, 39 of 64 pixels are in it.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
"${PYTHON:-python3}" -m venv "$dir/venv"
cd "$dir"
cat > try.py <<'PY'
import cv2
import numpy as np

image = np.random.default_rng(0).uniform(0, 1, (16, 16))


def changed(kind, flag, border):
    given = image.astype(kind)
    seen = cv2.warpAffine(given, np.eye(2, 3), (16, 16), flags=flag, borderMode=border)
    return int((np.abs(seen.astype(float) - given) > 1e-4).sum())


borders = (cv2.BORDER_CONSTANT, cv2.BORDER_REPLICATE, cv2.BORDER_REFLECT_101)
counts = []
for kind, flag in (
    (np.float64, cv2.INTER_CUBIC),
    (np.float32, cv2.INTER_CUBIC),
    (np.float64, cv2.INTER_LINEAR),
    (np.float64, cv2.INTER_LANCZOS4),
):
    numbers = {changed(kind, flag, border) for border in borders}
    assert len(numbers) == 1, numbers
    counts += numbers
x, y = np.meshgrid(np.arange(16, dtype=np.float32), np.arange(16, dtype=np.float32))
remapped = cv2.remap(image, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
assert int((np.abs(remapped - image) > 1e-4).sum()) == counts[0]
assert np.abs(remapped - image)[1:-2, 1:-2].max() < 1e-6  # the control: the inside is right
if counts[0]:
    seen = cv2.warpAffine(100 + image, np.eye(2, 3), (16, 16), flags=cv2.INTER_CUBIC)
    assert (seen[0] == 100).all() and (seen[:, -2:] == 100).all()
print(cv2.__version__, *counts)
PY
for version in 4.12.0.88 5.0.0.93; do
    "$dir/venv/bin/pip" install --quiet --disable-pip-version-check \
        "opencv-python-headless==$version" numpy==2.2.6
    "$dir/venv/bin/python" try.py
done | tee seen.txt
printf '4.12.0 0 0 0 0\n5.0.0 87 0 0 0\n' | diff - seen.txt
echo 'as stated'
