#!/usr/bin/env bash
# webdataset: a name with a dot in it makes one sample of many
#
# One would guess: five images with a label each make five samples, whatever the images are called;
# at the least the library's own writer refuses a key that its own reader cannot get back.
# What happens: the reader ends the key at the FIRST dot of the base name. DICOM files are named by
# their UID (1.2.826.0.1.4), slides by their resolution (slide_0.25mpp), so that all keys are "1" or
# "slide_0". Neighbors with the same key become one sample, whose fields are called "2.826.0.1.4.dcm".
# TarWriter writes such keys without a word. Nothing is raised, and no field is called "dcm".
#
# Version: webdataset 1.0.2 (Python 3.11), seen on 2026-11-28:
#   expected 5 samples with the fields cls, dcm
#   seen     1 sample with the fields 2.826.0.1.0.cls, 2.826.0.1.0.dcm, 2.826.0.1.1.cls, ...
#   expected 3 slides with the fields cls, jpg
#   seen     1 sample with the fields 25mpp_a.cls, 25mpp_a.jpg, 25mpp_b.cls, ...
#
# Why it matters: a shard of a thousand scans turns into one sample. A pipeline that takes "the first
# field that ends in .dcm" trains on one scan in a thousand, for as many epochs as it is asked to.
# Replace the dots in keys before writing.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
"${PYTHON:-python3}" -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check webdataset==1.0.2 numpy==2.4.6
cd "$dir"
"$dir/venv/bin/python" - <<'PY'
from importlib.metadata import version

import webdataset

print('webdataset', version('webdataset'))


def fields_of_samples(keys, extension):
    with webdataset.TarWriter('shard.tar') as writer:
        for key in keys:
            writer.write({'__key__': key, extension: b'pixels', 'cls': b'1'})
    samples = list(webdataset.WebDataset('shard.tar', shardshuffle=False))
    return [sorted(name for name in sample if not name.startswith('__')) for sample in samples]


# The control: names without a dot.
seen = fields_of_samples([f'scan_{i}' for i in range(5)], 'dcm')
assert seen == [['cls', 'dcm']] * 5, seen

seen = fields_of_samples([f'1.2.826.0.1.{i}' for i in range(5)], 'dcm')
print('expected 5 samples with the fields cls, dcm')
print('seen    ', len(seen), 'sample with the fields', ', '.join(seen[0][:3]) + ', ...')
assert len(seen) == 1 and len(seen[0]) == 10 and 'dcm' not in seen[0]
assert seen[0][:2] == ['2.826.0.1.0.cls', '2.826.0.1.0.dcm']

seen = fields_of_samples(['slide_0.25mpp_a', 'slide_0.25mpp_b', 'slide_0.5mpp_a'], 'jpg')
print('expected 3 slides with the fields cls, jpg')
print('seen    ', len(seen), 'sample with the fields', ', '.join(seen[0][:3]) + ', ...')
assert len(seen) == 1 and '25mpp_b.jpg' in seen[0]
PY
