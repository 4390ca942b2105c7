#!/usr/bin/env bash
# rasterio, GDAL: a label map kept as COG, read smaller with "nearest", holds classes that it never had
#
# One would guess: Resampling.nearest picks existing pixels, so that a map of the classes 0, 1, 2, 7, 9
# read at a quarter of its size holds only these. With a plain GeoTIFF it does.
# What happens: the COG driver adds overviews by itself (from 512 pixels on), and makes them by CUBIC
# resampling unless the map has a palette. A smaller read takes its pixels from the nearest overview,
# so that "nearest" and "mode" return averages of class numbers.
#
# Version: rasterio 1.4.4 with GDAL 3.10.3, numpy 2.4.6 (Python 3.11), seen on 2026-11-28:
#   GTiff                          classes 0 1 2 7 9
#   COG, expected                  classes 0 1 2 7 9
#   COG, seen                      classes 0 1 2 3 4 5 6 7 8 9 10; 46% of the pixels are of no class of the map
#   COG, overview_resampling=mode  classes 0 1 2 7 9
#
# Why it matters: at full size the file is right, and so are all checks of it. Training at a lower
# resolution (or on a grid of another resolution) gets wrong labels along all borders of classes.
# Write label maps with overview_resampling='mode' or 'nearest', or overviews='NONE'.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
"${PYTHON:-python3}" -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check rasterio==1.4.4 numpy==2.4.6
cd "$dir"
"$dir/venv/bin/python" - <<'PY'
import numpy as np
import rasterio
from rasterio.enums import Resampling

print('rasterio', rasterio.__version__, 'GDAL', rasterio.__gdal_version__)
rng = np.random.default_rng(0)
fields = np.kron(rng.choice([0, 1, 2, 7, 9], (256, 256)), np.ones((5, 5))).astype(np.uint8)
profile = dict(width=1280, height=1280, count=1, dtype='uint8', crs='EPSG:32633',
               transform=rasterio.transform.from_origin(0, 0, 10, 10))


def classes(driver, resampling=Resampling.nearest, **options):
    with rasterio.open('labels.tif', 'w', driver=driver, **profile, **options) as file:
        file.write(fields, 1)
    with rasterio.open('labels.tif') as file:
        assert np.array_equal(file.read(1), fields)  # at full size all is well
        small = file.read(1, out_shape=(320, 320), resampling=resampling)
    wrong = float(np.mean(~np.isin(small, fields)))
    name = ', '.join([driver] + [f'{k}={v}' for k, v in options.items()])
    print(f'{name:30} {resampling.name:8} classes', *np.unique(small), f'{wrong:.0%} of no class')
    return wrong


assert classes('GTiff') == 0  # the control
assert classes('COG') > 0.3
assert classes('COG', Resampling.mode) > 0.3
assert classes('COG', overview_resampling='mode') == 0
assert classes('COG', overviews='NONE') == 0
PY
