#!/usr/bin/env bash
# mmengine: --cfg-options takes blanks out of paths, splits them at commas, and quotes do not help
#
# One would guess: a value in quotes is a string as it stands, so that "/data/my scans" is this folder, and
# "2024" or "007" (a folder, a patient) is text.
# What happens: DictAction first removes every blank and every quote from the value, then splits at commas,
# then tries int and float. No way of quoting keeps a blank, a comma or a leading zero.
#
# Version: mmengine-lite 0.10.7, which is mmengine 0.10.7 without torch (Python 3.11), seen on 2026-11-28:
#   root="/data/my scans"    expected '/data/my scans'    seen '/data/myscans'
#   root=["/data/my scans"]  expected ['/data/my scans']  seen ['/data/myscans']
#   root="left,right"        expected 'left,right'        seen ['left', 'right']
#   patient="007"            expected '007'               seen 7
#   run="1e5"                expected '1e5'               seen 100000.0
#
# Why it matters: the tools of OpenMMLab take their settings by this class. The error (if any) names a folder
# that nobody typed; with a folder /data/myscans beside it there is no error. Such values belong in a
# config file.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
"${PYTHON:-python3}" -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check \
    mmengine-lite==0.10.7 numpy==2.4.6 opencv-python-headless==5.0.0.93 packaging==26.4
cd "$dir"
"$dir/venv/bin/python" - <<'PY'
import argparse

import mmengine
from mmengine.config import DictAction

print('mmengine', mmengine.__version__)
parser = argparse.ArgumentParser()
parser.add_argument('--cfg-options', nargs='+', action=DictAction)


def value(argument):
    return parser.parse_args(['--cfg-options', argument]).cfg_options.popitem()[1]


assert value('root=/data/scans') == '/data/scans'  # the control
for argument, expected, seen in (
    ('root="/data/my scans"', '/data/my scans', '/data/myscans'),
    ("root='/data/my scans'", '/data/my scans', '/data/myscans'),
    ('root=["/data/my scans"]', ['/data/my scans'], ['/data/myscans']),
    ('root="left,right"', 'left,right', ['left', 'right']),
    ('patient="007"', '007', 7),
    ('run="1e5"', '1e5', 100000.0),
):
    got = value(argument)
    print(f'{argument:24} expected {expected!r:20} seen {got!r}')
    assert got == seen and type(got) is type(seen)
PY
