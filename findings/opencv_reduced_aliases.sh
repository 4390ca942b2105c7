#!/usr/bin/env bash
# OpenCV: IMREAD_REDUCED averages a JPEG, and of a PNG, WebP or TIFF it takes a few pixels
#
# One would guess: IMREAD_REDUCED_COLOR_8 gives an image of an eighth, made in the same way whatever the
# file's format is, of a size that depends on the size of the image alone.
# What happens: only JPEG is decoded at the smaller scale, which averages blocks and rounds the size up. All
# other formats are decoded in full and then shrunk by a filter that looks at four pixels of each 8 x 8
# block, and round the size down. No decoding is saved, and fine texture turns into noise.
#
# Version: opencv-python-headless 5.0.0.93, numpy 2.4.6 (Python 3.11), seen on 2026-11-28, gray noise of
# mean 128 and standard deviation 40, 101 x 67 pixels, at an eighth:
#   expected            13 x 9 (or 12 x 8 in all), deviation near 40 / 8 = 5
#   JPEG, quality 100   13 x 9, deviation 6.3
#   PNG, WebP, TIFF     12 x 8, deviation 24.8
#
# Why it matters: a folder that mixes JPEG and PNG gets two kinds of images of different sharpness and size,
# which a model can tell apart (and does, if one class came as PNG). For what is not JPEG decode in full and
# use INTER_AREA.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
"${PYTHON:-python3}" -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check opencv-python-headless==5.0.0.93 numpy==2.4.6
cd "$dir"
"$dir/venv/bin/python" - <<'PY'
import cv2
import numpy as np

print('opencv', cv2.__version__)
rng = np.random.default_rng(0)
noise = np.clip(rng.normal(128, 40, (67, 101)), 0, 255).astype(np.uint8)
image = np.dstack([noise] * 3)
spread = {}
for kind, options in (('.jpg', [cv2.IMWRITE_JPEG_QUALITY, 100]), ('.png', []),
                      ('.webp', [cv2.IMWRITE_WEBP_QUALITY, 101]), ('.tif', [])):
    cv2.imwrite('image' + kind, image, options)
    full = cv2.imread('image' + kind)
    assert np.abs(full.astype(int) - image).max() <= 4, kind  # the control: the files hold the same image
    for factor in (2, 4, 8):
        seen = cv2.imread('image' + kind, getattr(cv2, f'IMREAD_REDUCED_COLOR_{factor}'))
        size = seen.shape[1], seen.shape[0]
        spread[kind, factor] = float(seen.std())
        print(f'{kind:5} 1/{factor}: {size[0]} x {size[1]}, deviation {seen.std():.1f} '
              f'(full {full.std():.1f}, mean of blocks {40 / factor:.1f})')
        if kind == '.jpg':
            assert size == (-(-101 // factor), -(-67 // factor))
            assert seen.std() < 1.3 * 40 / factor
        else:
            assert size == (101 // factor, 67 // factor)
for kind in ('.png', '.webp', '.tif'):
    assert spread[kind, 8] > 3 * spread['.jpg', 8], spread
area = cv2.resize(image, (12, 8), interpolation=cv2.INTER_AREA)
print(f'INTER_AREA to 12 x 8: deviation {area.std():.1f}')
assert area.std() < 7
PY
