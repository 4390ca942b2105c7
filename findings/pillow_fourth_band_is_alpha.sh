#!/usr/bin/env bash
# Pillow: in four-band data kept as RGBA, a dark fourth band blackens the other three when resized
#
# One would guess: an array of red, green, blue and near infrared becomes an "RGBA" image in Pillow as
# a mere container (PNG and TIFF keep it bit for bit), and resize() filters each band by itself.
# What happens: with every filter but NEAREST the three colors are weighted by the fourth band, since it
# stands for opacity. Where it is 0, red, green and blue become 0; elsewhere they are averages that lean
# to the pixels that are bright in infrared. Lossless WebP (without exact=True) zeroes the same pixels.
#
# Version: pillow 13.0.0, numpy 2.4.6 (Python 3.11), seen on 2026-11-28; mean of red over a lake of red 120
# and infrared 0, and the largest difference from resizing band by band over land of random values:
#   expected                       lake 120, land 0
#   BILINEAR                       lake 0, land 52
#   BICUBIC                        lake 0, land 68
#   LANCZOS                        lake 0, land 88
#   BOX                            lake 0, land 103
#   saved as PNG, TIFF             bit for bit
#   WEBP lossless=True             lake 0
#   WEBP lossless=True, exact=True bit for bit
#
# Why it matters: water and shadow are black in infrared, so they lose their color in aerial images of
# four bands (torchvision's transforms on PIL images call the same resize). The model then reconstructs
# an artifact. Resize band by band, or as an array.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
"${PYTHON:-python3}" -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check pillow==13.0.0 numpy==2.4.6
cd "$dir"
"$dir/venv/bin/python" - <<'PY'
import io

import numpy as np
import PIL
from PIL import Image

print('pillow', PIL.__version__)
rng = np.random.default_rng(0)
scene = rng.integers(0, 256, (64, 64, 4), dtype=np.uint8)  # red, green, blue, near infrared
scene[:, :32, :3] = 120
scene[:, :32, 3] = 0  # a lake on the left
image = Image.fromarray(scene)
assert image.mode == 'RGBA'


def lake(array):
    return float(array[:, :12, 0].mean())


for name in ('BILINEAR', 'BICUBIC', 'LANCZOS', 'BOX'):
    method = getattr(Image.Resampling, name)
    seen = np.asarray(image.resize((32, 32), method)).astype(int)
    bands = np.dstack([np.asarray(band.resize((32, 32), method)) for band in image.split()]).astype(int)
    land = int(np.abs(seen - bands)[:, 20:, :3].max())
    print(f'{name:8} expected lake {lake(bands)}, land 0   seen lake {lake(seen)}, land {land}')
    assert lake(bands) == 120 and lake(seen) == 0 and land > 20

nearest = np.asarray(image.resize((32, 32), Image.Resampling.NEAREST))
assert lake(nearest) == 120

for kind, options in (('PNG', {}), ('TIFF', {}), ('WEBP', dict(lossless=True)),
                      ('WEBP', dict(lossless=True, exact=True))):
    file = io.BytesIO()
    image.save(file, kind, **options)
    seen = np.asarray(Image.open(file))
    print(kind, options, 'bit for bit' if np.array_equal(seen, scene) else f'changed, lake {lake(seen)}')
    assert np.array_equal(seen, scene) == (options != dict(lossless=True))
    if not np.array_equal(seen, scene):
        assert lake(seen) == 0
PY
