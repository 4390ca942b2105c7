#!/usr/bin/env bash
# pycocotools 2.0.9 and 2.0.10 cannot score against a json without "info"; 2.0.8 and 2.0.11 can
#
# One would guess: "info" holds a title and a year, and no scorer reads it. All four versions load such a
# ground truth, create its index, and give images and annotations.
# What happens: in 2.0.9 and 2.0.10, COCO.loadRes() (which makes the detections comparable) copies
# dataset['info'] and raises KeyError: 'info'. It is the first call that an evaluator makes after the
# detector has run, so a training goes through its whole first interval, and the validation through all its
# images, before it ends.
#
# Versions: pycocotools 2.0.8, 2.0.9, 2.0.10, 2.0.11 (Python 3.11, numpy 1.26), seen on 2026-11-28; one
# image, one box, and a detection equal to it, mAP:
#   2.0.8  1.0    2.0.9  KeyError 'info'    2.0.10  KeyError 'info'    2.0.11  1.0
#
# Why it matters: annotation tools and own scripts often write images, annotations and categories alone.
# Add info={} to the json (or to coco.dataset after loading), or take 2.0.11.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
"${PYTHON:-python3}" -m venv "$dir/venv"
cd "$dir"
cat > try.py <<'PY'
import contextlib
import io
import json

from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

box = dict(image_id=1, category_id=1, bbox=[4, 4, 20, 20])
truth = dict(
    images=[dict(id=1, file_name='1.png', width=40, height=40)],
    categories=[dict(id=1, name='a')],
    annotations=[dict(box, id=1, area=400, iscrowd=0)],
)
with open('truth.json', 'w') as file:
    json.dump(truth, file)
with contextlib.redirect_stdout(io.StringIO()):
    coco = COCO('truth.json')
    assert len(coco.getAnnIds()) == 1
    try:
        found = coco.loadRes([dict(box, score=0.9)])
    except KeyError as error:
        result = f'KeyError {error}'
    else:
        score = COCOeval(coco, found, 'bbox')
        score.evaluate()
        score.accumulate()
        score.summarize()
        result = f'{score.stats[0]:.1f}'
print(result)
PY
for version in 2.0.8 2.0.9 2.0.10 2.0.11; do
    "$dir/venv/bin/pip" install --quiet --disable-pip-version-check "pycocotools==$version" 'numpy==1.26.4'
    printf '%-7s %s\n' "$version" "$("$dir/venv/bin/python" try.py)"
done | tee seen.txt
cat > expected.txt <<'TXT'
2.0.8   1.0
2.0.9   KeyError 'info'
2.0.10  KeyError 'info'
2.0.11  1.0
TXT
diff expected.txt seen.txt
echo 'as stated'
