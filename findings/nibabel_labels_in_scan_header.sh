#!/usr/bin/env bash
# nibabel: whole numbers saved with a scan's header come back as 0.9999999998, and astype() cuts that to 0
#
# One would guess: a label map of 0, 1, 2, 3 held as float64 and saved with the header of the int16 scan
# that it belongs to is written as these int16, which hold them exactly.
# What happens: float data for an integer header are stretched over the whole range of the integers, with
# a slope and an intercept in the header, although they are whole numbers that would fit. Reading undoes
# this up to rounding: 1 is 0.9999999998, and get_fdata().astype('uint8') makes 0 of it. The integers in
# the file are -32768, -10923, ...: a reader that leaves out the slope finds no label at all.
#
# Version: nibabel 5.4.2, numpy 2.4.6 (Python 3.11), seen on 2026-11-28:
#   expected on disk 0 1 2 3                   read, astype: 0% wrong
#   seen     on disk -32768 -10923 10922 32767 read, astype: 75% wrong, each label but 0
#   (labels cast to uint8 before saving: 0% wrong, also with the scan's header)
#
# Why it matters: Nifti1Image(prediction, scan.affine, scan.header) is the usual way to save a
# segmentation, and most networks and most resampling functions give floats. Viewers round, so that it
# looks right. Cast labels to integers before saving, and round before casting after reading.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
"${PYTHON:-python3}" -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check nibabel==5.4.2 numpy==2.4.6
cd "$dir"
"$dir/venv/bin/python" - <<'PY'
import nibabel
import numpy as np

print('nibabel', nibabel.__version__)
rng = np.random.default_rng(0)
scan = nibabel.Nifti1Image(rng.integers(-1000, 2000, (16, 16, 16)).astype(np.int16), np.eye(4))
labels = rng.integers(0, 4, (16, 16, 16))


def saved(array):
    nibabel.save(nibabel.Nifti1Image(array, scan.affine, scan.header), 'labels.nii.gz')
    image = nibabel.load('labels.nii.gz')
    disk = np.unique(image.dataobj.get_unscaled())
    values = image.get_fdata()
    wrong = np.mean(values.astype(np.uint8) != labels)
    print(f'{array.dtype}: dtype in the file {image.get_data_dtype()}, on disk', *disk,
          '; read', *np.unique(values), f'; {wrong:.0%} wrong after astype')
    assert np.array_equal(np.rint(values), labels)
    return disk.tolist(), wrong


print('expected on disk 0 1 2 3, 0% wrong after astype')
assert saved(labels.astype(np.uint8)) == ([0, 1, 2, 3], 0)  # the control
disk, wrong = saved(labels.astype(np.float64))
assert min(disk) < -32000 and max(disk) > 32000, disk
assert wrong > 0.5
PY
