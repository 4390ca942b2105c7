#!/usr/bin/env bash
# datasets: 16-bit color images are stored modulo 256, 16-bit gray images exactly
#
# One would guess: the Image feature keeps 16 bits as it does for gray, raises (as it does for float32
# color), or at worst keeps the high byte, which is what Pillow does with a 16-bit color PNG.
# What happens: the array is cast to uint8, which keeps the LOW byte: 256 becomes 0, 511 becomes 255.
# A smooth ramp turns into 256 sawteeth. The one warning speaks of "downcasting ... to be compatible
# with Pillow", which reads like a loss of precision.
#
# Version: datasets 5.2.0, pillow 13.0.0 (Python 3.11), seen on 2026-11-28:
#   gray  uint16 0 255 256 511 65535 -> uint16 0 255 256 511 65535
#   color uint16 0 255 256 511 65535 -> expected uint8 0 0 1 1 255 (or 65535 kept, or an error)
#                                       seen     uint8 0 255 0 255 255
#
# Why it matters: microscopes, satellites and cameras in raw mode give 16 bits of three bands. After
# the wrap the images still have edges and textures, and a model that reconstructs pixels still gets a
# falling loss; it learns sawteeth. Scale to 8 bits first, or keep the file's bytes.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
"${PYTHON:-python3}" -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check datasets==5.2.0 pillow==13.0.0 numpy==2.4.6
cd "$dir"
export HF_HUB_OFFLINE=1 HF_HOME="$dir/home" HF_DATASETS_DISABLE_PROGRESS_BARS=1
"$dir/venv/bin/python" - <<'PY'
import warnings

import datasets
import numpy as np
import PIL

print('datasets', datasets.__version__, 'pillow', PIL.__version__)
features = datasets.Features({'image': datasets.Image()})


def stored(array):
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        data = datasets.Dataset.from_dict({'image': [array]}, features=features)
        return np.asarray(data[0]['image'])


gray = np.tile(np.array([0, 255, 256, 511, 65535], np.uint16), (4, 1))
color = np.dstack([gray] * 3)

got = stored(gray)
print('gray  uint16', *gray[0], '->', got.dtype, *got[0])
assert np.array_equal(got, gray)  # the control

got = stored(color)
print('color uint16', *color[0, :, 0], '-> expected uint8', *(color[0, :, 0] // 256), '(or 65535 kept, or an error)')
print(' ' * 30, 'seen    ', got.dtype, *got[0, :, 0])
assert got.dtype == np.uint8 and np.array_equal(got, color % 256)

try:
    stored(color.astype(np.float32))
except TypeError as error:
    print('color float32 is refused:', str(error)[:50])
else:
    raise AssertionError('float32 color images are taken now')
PY
