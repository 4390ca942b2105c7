#!/usr/bin/env bash
# tifffile: of a stack that it wrote page by page, its imread() gives the first page only
#
# One would guess: five equal images written one after the other to one file are a stack of five, and
# imread() without arguments gives (5, 32, 32), as it does for the same five pages written by Pillow.
# What happens: each write() (and each imwrite(append=True)) begins a series of its own, which tifffile
# records in the file, and imread() gives the first series. Pillow sees five pages in the very same file.
#
# Versions: tifffile 2026.3.3, pillow 13.0.0, numpy 2.4.6 (Python 3.11), seen on 2026-11-28:
#   write() in a loop                  expected (5, 32, 32)   seen (32, 32), Pillow: 5 pages
#   imwrite(append=True) in a loop     expected (5, 32, 32)   seen (32, 32), Pillow: 5 pages
#   write(contiguous=True) in a loop   (5, 32, 32)
#   the pages written by Pillow        (5, 32, 32)
#   imread(key=slice(None))            (5, 32, 32)
#
# Why it matters: frames of a camera and slices of a volume are written in a loop, to keep memory small.
# What is read has the shape of a single gray image, which is valid: training runs on the first frame
# of each file. The number of pages (TiffFile.pages) tells, the shape does not.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
"${PYTHON:-python3}" -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check tifffile==2026.3.3 pillow==13.0.0 numpy==2.4.6
cd "$dir"
"$dir/venv/bin/python" - <<'PY'
import numpy as np
import PIL
import tifffile
from PIL import Image

print('tifffile', tifffile.__version__, 'pillow', PIL.__version__)
frames = np.random.default_rng(0).integers(0, 256, (5, 32, 32), dtype=np.uint8)


def look(name, path, expected, **kwargs):
    shape = tifffile.imread(path, **kwargs).shape
    with Image.open(path) as image:
        pages = image.n_frames
    print(f'{name:34} expected (5, 32, 32)   seen {shape}, Pillow: {pages} pages')
    assert shape == expected and pages == 5
    with tifffile.TiffFile(path) as file:
        assert len(file.pages) == 5
        assert len(file.series) == (5 if len(expected) == 2 or kwargs else 1)


with tifffile.TiffWriter('loop.tif') as writer:
    for frame in frames:
        writer.write(frame)
look('write() in a loop', 'loop.tif', (32, 32))
assert np.array_equal(tifffile.imread('loop.tif'), frames[0])

for frame in frames:
    tifffile.imwrite('append.tif', frame, append=True)
look('imwrite(append=True) in a loop', 'append.tif', (32, 32))

with tifffile.TiffWriter('contiguous.tif') as writer:
    for frame in frames:
        writer.write(frame, contiguous=True)
look('write(contiguous=True) in a loop', 'contiguous.tif', (5, 32, 32))

first, *others = [Image.fromarray(frame) for frame in frames]
first.save('pillow.tif', save_all=True, append_images=others)
look('the pages written by Pillow', 'pillow.tif', (5, 32, 32))

look('imread(key=slice(None))', 'loop.tif', (5, 32, 32), key=slice(None))
PY
