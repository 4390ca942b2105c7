#!/usr/bin/env bash
# TIFF, "white is zero": whether the image is inverted depends on its bits, and on the library
#
# One would guess: a library either inverts gray TIFF whose photometric interpretation is WhiteIsZero
# (so that large means bright) or gives the stored numbers, and treats 8 and 16 bits alike.
# What happens: Pillow and OpenCV's IMREAD_UNCHANGED invert 8 bits and do not invert 16 bits;
# IMREAD_GRAYSCALE inverts both; tifffile inverts none. No reader says so, and the array does not show it.
#
# Versions: pillow 13.0.0, opencv-python-headless 5.0.0.93, tifffile 2026.3.3 (Python 3.11), seen on
# 2026-11-28 for a stored 0 (which means white):
#                            8 bits  16 bits
#   expected                 one and the same rule in a row
#   Pillow                   255     0
#   OpenCV IMREAD_UNCHANGED  255     0
#   OpenCV IMREAD_GRAYSCALE  255     255
#   tifffile                 0       0
#
# Why it matters: scanned films, X-ray plates and gel images are often stored like this. A folder of 8 and
# 16 bits holds positives beside negatives, pretraining with one loader and inference with another
# sees the opposite, and nothing fails. Ask for the tag (262), not for the pixels.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
"${PYTHON:-python3}" -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check \
    pillow==13.0.0 opencv-python-headless==5.0.0.93 tifffile==2026.3.3 numpy==2.4.6
cd "$dir"
"$dir/venv/bin/python" - <<'PY'
import cv2
import numpy as np
import PIL
import tifffile
from PIL import Image

print('pillow', PIL.__version__, 'opencv', cv2.__version__, 'tifffile', tifffile.__version__)
readers = {
    'Pillow': lambda path: np.asarray(Image.open(path)),
    'OpenCV IMREAD_UNCHANGED': lambda path: cv2.imread(path, cv2.IMREAD_UNCHANGED),
    'OpenCV IMREAD_GRAYSCALE': lambda path: cv2.imread(path, cv2.IMREAD_GRAYSCALE),
    'tifffile': tifffile.imread,
}
seen = {name: [] for name in readers}
for dtype in (np.uint8, np.uint16):
    ramp = np.linspace(0, np.iinfo(dtype).max, 256).astype(dtype).reshape(16, 16)
    for photometric in ('minisblack', 'miniswhite'):
        tifffile.imwrite('scan.tif', ramp, photometric=photometric)
        for name, read in readers.items():
            first = int(read('scan.tif')[0, 0])
            if photometric == 'minisblack':
                assert first == 0  # the control
            else:
                seen[name].append(first)
print(f'{"a stored 0 is read as":24} 8 bits  16 bits   (expected: one rule in a row)')
for name, (low, high) in seen.items():
    print(f'{name:24} {low:<7} {high}')
assert seen == {
    'Pillow': [255, 0],
    'OpenCV IMREAD_UNCHANGED': [255, 0],
    'OpenCV IMREAD_GRAYSCALE': [255, 255],
    'tifffile': [0, 0],
}
PY
