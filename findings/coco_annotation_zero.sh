#!/usr/bin/env bash
# pycocotools: perfect detections score AP 0.25 if one annotation's id is 0
#
# One would guess: the id of an annotation is a name. Counted from 0 or from 1, detections that are equal
# to the ground truth score 1.
# What happens: the evaluator notes for each detection the id of what it matched, and 0 stands for "nothing".
# A box that matched annotation 0 is a false positive, and the object counts as missed, too. Where objects
# are few it costs far more than its share: a false positive with the best score lowers the precision of
# all behind it. faster-coco-eval, made as a drop-in, gives the same figures, but warns.
#
# Versions: pycocotools 2.0.11, faster-coco-eval 1.8.0 (Python 3.11), seen on 2026-11-28, two objects of
# one class, detected exactly:
#   ids 1, 2: AP 1.000 (both)
#   ids 0, 1: expected AP 1.000, seen 0.252 (both)
#   ids 0 to 99, object 0 found with the best score: expected 1.000, seen 0.980; with the lowest: 0.990
#
# Why it matters: enumerate() begins at 0, so own exports do. One class of each file loses, by an amount that
# changes with the score of one box, and where objects are few by more than pretraining gains. Number
# annotations from 1.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
"${PYTHON:-python3}" -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check \
    pycocotools==2.0.11 faster-coco-eval==1.8.0 numpy==2.4.6
cd "$dir"
"$dir/venv/bin/python" - <<'PY'
import contextlib
import io
import warnings
from importlib.metadata import version

import faster_coco_eval
import pycocotools.coco
import pycocotools.cocoeval

print('pycocotools', version('pycocotools'), 'faster-coco-eval', version('faster-coco-eval'))


def score(count, first_id, best_first=True):
    annotations = [
        dict(id=first_id + i, image_id=1, category_id=1, bbox=[20 * i, 10, 15, 15], area=225, iscrowd=0)
        for i in range(count)
    ]
    truth = dict(images=[dict(id=1, width=20 * count, height=40)], categories=[dict(id=1, name='cell')],
                 annotations=annotations)
    results, warned = [], False
    for coco_class, eval_class in ((pycocotools.coco.COCO, pycocotools.cocoeval.COCOeval),
                                   (faster_coco_eval.COCO, faster_coco_eval.COCOeval_faster)):
        found = [dict(image_id=1, category_id=1, bbox=[20 * i, 10, 15, 15],
                      score=0.9 - 0.001 * (i if best_first else count - i)) for i in range(count)]
        with warnings.catch_warnings(record=True) as messages, contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter('always')
            coco = coco_class()
            coco.dataset = truth
            coco.createIndex()
            evaluator = eval_class(coco, coco.loadRes(found), 'bbox')
            evaluator.evaluate()
            evaluator.accumulate()
            evaluator.summarize()
        results.append(round(float(evaluator.stats[0]), 3))
        warned = any('annotation id 0' in str(message.message) for message in messages)
    assert results[0] == results[1], results
    place = 'best' if best_first else 'lowest'
    print(f'{count} objects, ids from {first_id}, object {first_id} has the {place} score: '
          f'expected AP 1.0, seen {results[0]} (pycocotools, faster-coco-eval)')
    return results[0], warned


assert score(2, 1)[0] == 1  # the control
value, warned = score(2, 0)
assert value == 0.252
print('faster-coco-eval warns:', warned)
best, _ = score(100, 0)
lowest, _ = score(100, 0, best_first=False)
assert (best, lowest) == (0.98, 0.99)
PY
