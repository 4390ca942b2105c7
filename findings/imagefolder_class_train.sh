#!/usr/bin/env bash
# datasets: a class called "train" makes all other classes disappear
#
# One would guess: load_dataset('imagefolder') on bus/, car/ and train/ gives 12 images of three
# classes, as it does for bus/, car/ and tram/.
# What happens: splits are looked for in the names of folders and files first. "train" is a split's
# name (as are test, testing, eval, val, dev and more, also as one word of a longer name), so only
# train/ is read: four images, no label column, no warning. A folder negative/ beside test_positive/
# loses the negatives, and a flat folder keeps only those files whose name holds such a word.
#
# Version: datasets 5.2.0, pillow 13.0.0 (Python 3.11), seen on 2026-11-28:
#   bus car tram            expected 12 images, 3 labels   seen {'train': 12}, labels bus, car, tram
#   bus car train           expected 12 images, 3 labels   seen {'train': 4}, no labels
#   negative test_positive  expected 8 images, 2 labels    seen {'test': 4}, no labels
#   img-*.png crash-test-*  expected 8 images              seen {'test': 4}
#
# Why it matters: "train" is a class of COCO and Pascal VOC, "test" is a word of medicine and of
# industry. A pretraining without labels shows nothing: it runs, on a third of the images.
# data_files='FOLDER/**' reads all of them; compare the number of rows with the number of files.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
"${PYTHON:-python3}" -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check datasets==5.2.0 pillow==13.0.0 numpy==2.4.6
cd "$dir"
export HF_HUB_OFFLINE=1 HF_HOME="$dir/home" HF_DATASETS_DISABLE_PROGRESS_BARS=1
"$dir/venv/bin/python" - <<'PY'
import pathlib
import warnings

import datasets
import PIL
from PIL import Image

warnings.simplefilter('error', UserWarning)  # that there is no warning is part of the finding
print('datasets', datasets.__version__, 'pillow', PIL.__version__)


def load(root, groups, pattern='{group}/{i}.png', **kwargs):
    for k, group in enumerate(groups):
        for i in range(4):
            path = pathlib.Path(root, pattern.format(group=group, i=i))
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new('RGB', (16, 16), (k * 60, i * 60, 0)).save(path)
    loaded = datasets.load_dataset('imagefolder', **(kwargs or {'data_dir': root}))
    rows = {name: split.num_rows for name, split in loaded.items()}
    first = next(iter(loaded.values())).features
    labels = first['label'].names if 'label' in first else []
    print(f'{" ".join(groups):24} expected {4 * len(groups)} images   seen {rows}, labels',
          ', '.join(labels) or 'none')
    return rows, labels


# The control.
assert load('streets', ['bus', 'car', 'tram']) == ({'train': 12}, ['bus', 'car', 'tram'])

assert load('vehicles', ['bus', 'car', 'train']) == ({'train': 4}, [])
assert load('clinic', ['negative', 'test_positive']) == ({'test': 4}, [])
assert load('flat', ['img', 'crash-test'], '{group}-{i}.png') == ({'test': 4}, [])

# The way out.
rows, labels = load('vehicles', ['bus', 'car', 'train'], data_files='vehicles/**')
assert rows == {'train': 12}
PY
