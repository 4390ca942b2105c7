#!/usr/bin/env bash
# mmengine: training by iterations sleeps two seconds each time that the data begin again
#
# One would guess: a training of 10 iterations takes the time of 10 steps, by epochs or by iterations, whatever
# the number of images.
# What happens: where the data loader ends, IterBasedTrainLoop (by_epoch=False) sleeps for 2 s before it starts
# it again. Its warning speaks of InfiniteSampler but not of time, and data_time in the log holds the sleep as
# if loading were slow. EpochBasedTrainLoop does not sleep.
#
# Version: mmengine 0.10.7, torch 2.14.1 (Python 3.11), seen on 2026-11-28, a linear layer, batches of 4, 10
# iterations:
#   images  loop         sampler           seconds
#   40      iterations   DefaultSampler    2.5 (the first steps of a process)
#   4       iterations   DefaultSampler    18.1
#   4       iterations   InfiniteSampler   0.0
#   4       epochs       DefaultSampler    0.2
#
# Why it matters: a few labeled images and a schedule in iterations are the usual way to fine-tune a
# segmenter. With 20 images in batches of 4, 2,000 iterations sleep for 13 minutes. InfiniteSampler ends it.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
"${PYTHON:-python3}" -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check mmengine==0.10.7 torch==2.14.1 numpy==2.4.6
cd "$dir"
"$dir/venv/bin/python" -W ignore - <<'PY'
import time

import mmengine
import torch
from mmengine.model import BaseModel
from mmengine.runner import Runner

print('mmengine', mmengine.__version__)


class Linear(BaseModel):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 1)

    def forward(self, x, mode='loss'):
        return dict(loss=self.layer(torch.stack(x)).square().mean())


def seconds(images, sampler='DefaultSampler', **loop):
    data = [dict(x=torch.ones(4)) for _ in range(images)]
    runner = Runner(
        Linear(),
        'work',
        train_dataloader=dict(batch_size=4, dataset=data, sampler=dict(type=sampler)),
        train_cfg=loop,
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01)),
        experiment_name=f'{images}_{sampler}_{len(loop)}',
        log_level='ERROR',
    )
    start = time.monotonic()
    runner.train()
    return time.monotonic() - start


for images, sampler, sleeps, loop in (
    (40, 'DefaultSampler', 0, dict(by_epoch=False, max_iters=10)),
    (4, 'DefaultSampler', 9, dict(by_epoch=False, max_iters=10)),
    (4, 'InfiniteSampler', 0, dict(by_epoch=False, max_iters=10)),
    (4, 'DefaultSampler', 0, dict(by_epoch=True, max_epochs=10)),
):
    taken = seconds(images, sampler, **loop)
    print(f'{images:2} images, {sampler:15} {loop}: {taken:.1f} s')
    assert 2 * sleeps <= taken < 2 * sleeps + 8
PY
echo 'as stated'
