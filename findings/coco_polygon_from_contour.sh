#!/usr/bin/env bash
# OpenCV to pycocotools: a mask that goes through a contour comes back smaller, a 10-pixel square by 19%
#
# One would guess: cv2.findContours gives the outline of a mask, COCO keeps outlines as polygons, and
# pycocotools fills the polygon again: the mask that one began with, give or take a pixel at round shapes.
# What happens: OpenCV's points are the CENTERS of the border pixels (5 to 14 for ten pixels), and
# pycocotools takes coordinates as positions between pixels (5 to 14 is nine wide). Each object loses a
# row and a column; a line of one pixel loses all it has. cv2.fillPoly and Pillow's ImageDraw fill
# the same polygon up to its border and give the mask back exactly, so that a look at a drawing does not
# show it. Adding 0.5 to all points only centers the smaller mask. RLE is exact.
#
# Versions: opencv-python-headless 5.0.0.93, pycocotools 2.0.11, pillow 13.0.0 (Python 3.11), seen on
# 2026-11-28; expected IoU 1 throughout:
#   square of 4 pixels    16 pixels become 9     IoU 0.56
#   square of 10 pixels   100 become 81          IoU 0.81
#   square of 50 pixels   2500 become 2401       IoU 0.96
#   disc of radius 3      29 become 20           IoU 0.58
#   disc of radius 8      197 become 174         IoU 0.84
#   line of 35 x 1        35 become 0            IoU 0
#
# Why it matters: many converters of masks to COCO json are these two calls. Trained and measured on such a
# file, a small cell or crack is a pixel too small, and a model that is right by the pixel gets no credit at
# the strict IoU thresholds (a 10-pixel object fails from 0.85 on). Write RLE from masks.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
"${PYTHON:-python3}" -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check \
    opencv-python-headless==5.0.0.93 pycocotools==2.0.11 pillow==13.0.0 numpy==2.4.6
cd "$dir"
"$dir/venv/bin/python" - <<'PY'
from importlib.metadata import version

import cv2
import numpy as np
from PIL import Image, ImageDraw
from pycocotools import mask as coco_mask

print('opencv', cv2.__version__, 'pycocotools', version('pycocotools'), 'pillow', version('pillow'))
y, x = np.mgrid[:64, :64]


def iou(a, b):
    return float((a & b).sum() / (a | b).sum())


def through_contour(name, mask):
    mask = mask.astype(np.uint8)
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    assert len(contours) == 1
    polygon = contours[0].reshape(-1).astype(float).tolist()

    def fill(points):
        return coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects([points], 64, 64)))

    filled = fill(polygon)
    shifted = fill([value + 0.5 for value in polygon])
    seen = round(iou(mask, filled), 2)
    print(f'{name:20} {mask.sum():4} pixels, expected IoU 1, seen {filled.sum():4} pixels, IoU {seen:.2f} '
          f'(+0.5: {shifted.sum()} pixels)')
    assert shifted.sum() <= filled.sum()

    # The controls: the same polygon by others, and the mask as RLE.
    by_opencv = cv2.fillPoly(np.zeros_like(mask), contours, 1)
    by_pillow = Image.new('L', (64, 64))
    ImageDraw.Draw(by_pillow).polygon(polygon, fill=1)
    rle = coco_mask.decode(coco_mask.encode(np.asfortranarray(mask)))
    for other in (by_opencv, np.asarray(by_pillow), rle):
        assert np.array_equal(other, mask)
    return seen


def square(size):
    return (x >= 7) & (x < 7 + size) & (y >= 5) & (y < 5 + size)


def disc(radius):
    return (x - 30) ** 2 + (y - 30) ** 2 <= radius * radius


assert through_contour('square of 4 pixels', square(4)) == 0.56
assert through_contour('square of 10 pixels', square(10)) == 0.81
assert through_contour('square of 50 pixels', square(50)) == 0.96
assert through_contour('disc of radius 3', disc(3)) == 0.58
assert through_contour('disc of radius 8', disc(8)) == 0.84
assert through_contour('line of 35 x 1', (y == 5) & (x >= 5) & (x < 40)) == 0
PY
