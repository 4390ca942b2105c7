"""A training as it lies on the disk."""

import json
import os
import time

CONFIG = """
model = dict(type='MaskedImageModel', backbone=dict(type='MaskedSwin', arch='tiny'))
train_cfg = dict(max_epochs=3)
train_dataloader = dict(dataset=dict(type='ImageDataset', data_root='/my/images'))
"""


def write_run(folder, losses=(2.0, 1.0), age=3600.0, config=CONFIG):
    """A training of which each epoch has logged once, and whose files are ``age`` seconds old."""
    log = folder / '20260101_000000' / 'vis_data'
    log.mkdir(parents=True)
    lines = [dict(loss=loss, epoch=i, iter=9 * i, step=9 * i) for i, loss in enumerate(losses, 1)]
    (log / 'scalars.json').write_text('\n'.join(map(json.dumps, lines)))
    (log / 'config.py').write_text(config)
    for file in (log, *log.iterdir()):
        os.utime(file, (time.time() - age,) * 2)
