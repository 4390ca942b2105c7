#!/usr/bin/env bash
# albumentations 2.0.8 in DataLoader workers: each epoch, and each worker, repeats the same random numbers
#
# One would guess: without a seed, augmentations differ from image to image and from epoch to epoch, with
# workers as without. (The old trap of numpy's global state in forked workers is closed: torch seeds it.)
# What happens: Compose holds a generator of its own. Each worker starts from a copy of it as
# the parent holds it, so that two workers draw the same numbers; and since the parent's copy is never
# used, the next epoch's workers start from it again. torch's and numpy's seeds do not reach it.
# persistent_workers keeps the epochs apart, not the workers; "spawn" copies the generator, too.
#
# Versions: albumentations 2.0.8 (the newest of that name), torch 2.14.1 (Python 3.11), seen on
# 2026-11-28; 16 random crops an epoch of an image of 64 x 64, two workers, two epochs:
#   no worker                    31 or 32 different of 32 (two may be equal by chance)
#   two workers        expected  about 32, seen 8
#   persistent_workers expected  about 32, seen 16
#   worker_init_fn with set_random_seed(worker seed): 32
#
# Why it matters: 800 epochs of pretraining draw no more different crops than one epoch does, divided by the
# number of workers: the first image of each worker always gets the first crop, and so on. Shuffling moves
# the images between these crops and hides it. Call set_random_seed() in worker_init_fn.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
"${PYTHON:-python3}" -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check \
    albumentations==2.0.8 opencv-python-headless==5.0.0.93 numpy==2.4.6 torch==2.14.1
cd "$dir"
cat > try.py <<'PY'
import os
import warnings

os.environ['NO_ALBUMENTATIONS_UPDATE'] = '1'  # it asks for newer releases over the network
warnings.simplefilter('ignore')

import albumentations
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, get_worker_info


class Crops(Dataset):
    """Gives the corner of a random crop."""

    def __init__(self):
        self.transform = albumentations.Compose([albumentations.RandomCrop(8, 8)])
        self.image = np.arange(64 * 64, dtype=np.float32).reshape(64, 64)

    def __len__(self):
        return 16

    def __getitem__(self, index):
        return int(self.transform(image=self.image)['image'][0, 0])


def reseed(worker_id):
    info = get_worker_info()
    info.dataset.transform.set_random_seed(info.seed % 2**32)


def different(name, **kwargs):
    loader = DataLoader(Crops(), batch_size=4, **kwargs)
    epochs = [[corner for batch in loader for corner in batch.tolist()] for _ in range(2)]
    number = len(set(epochs[0] + epochs[1]))
    repeated = epochs[0] == epochs[1]
    print(f'{name:34} expected about 32 different of 32, seen {number}; second epoch equals first: {repeated}')
    return number, repeated


if __name__ == '__main__':
    torch.manual_seed(0)
    print('albumentations', albumentations.__version__, 'torch', torch.__version__.split('+')[0])
    number, repeated = different('no worker')
    assert number > 24 and not repeated
    for context in ('fork', 'spawn'):
        number, repeated = different(f'two workers, {context}', num_workers=2, multiprocessing_context=context)
        assert number <= 8 and repeated
    number, repeated = different('two workers, persistent', num_workers=2, persistent_workers=True)
    assert number <= 16 and not repeated
    number, repeated = different('two workers, set_random_seed', num_workers=2, worker_init_fn=reseed)
    assert number > 24 and not repeated
PY
OMP_NUM_THREADS=1 "$dir/venv/bin/python" try.py
