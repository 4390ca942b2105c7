#!/usr/bin/env bash
# mmengine: a config that builds on one of mmdet reads and parses all of mmdet's metafiles, each time
#
# One would guess: `_base_ = 'mmdet::_base_/models/faster-rcnn_r50_fpn.py'` reads that file.
# What happens: before it looks for the file, mmengine parses the index of the package's model zoo and every
# metafile in it, to see whether the name is there as well; names under `_base_` never are. Nothing is kept: two
# such bases, or the same config read twice, parse everything again.
#
# Version: mmengine 0.10.7, mmdet 3.3.0 (Python 3.11), seen on 2026-11-29:
#   a config with two bases of mmdet: 204 YAML files parsed, 0.4 s; the same two copied: none, 0.05 s
#
# Why it matters: tools that read many configs (a comparison of 40 trainings, a test suite) spend more time on
# files that they do not use than on all the rest. Here it was a tenth of a test suite.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
"${PYTHON:-python3}" -m venv "$dir/venv"
pip=("$dir/venv/bin/pip" install --quiet --disable-pip-version-check)
"${pip[@]}" mmengine==0.10.7 numpy==2.4.6 'setuptools<81'
"${pip[@]}" --no-deps mmdet==3.3.0 # its configs alone are read
cd "$dir"
"$dir/venv/bin/python" -W ignore - <<'PY'
import time
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from shutil import copytree

from mmengine.config import Config, utils

print('mmengine', version('mmengine'), 'mmdet', version('mmdet'))
parsed, load = [], utils.load
utils.load = lambda file, *args, **kwargs: parsed.append(file) or load(file, *args, **kwargs)
NAMES = ['models/faster-rcnn_r50_fpn.py', 'default_runtime.py']


def read(bases):
    parsed.clear()
    Path('mine.py').write_text(f'_base_ = {bases}\n')
    start = time.perf_counter()
    cfg = Config.fromfile('mine.py')
    seconds = time.perf_counter() - start
    print(f'{bases[0]}, ...: {len(parsed)} YAML files parsed, {seconds:.2f} s')
    return cfg.model, len(parsed)


package = Path(find_spec('mmdet').origin).parent
copytree(package / '.mim/configs/_base_', 'copied')
copied, none = read([f'copied/{name}' for name in NAMES])
named, all_of_them = read([f'mmdet::_base_/{name}' for name in NAMES])
again = read([f'mmdet::_base_/{name}' for name in NAMES])[1]
assert copied.backbone.depth == named.backbone.depth and none == 0
assert again == all_of_them > 100
PY
echo 'as stated'
