#!/usr/bin/env bash
# mmengine: a library's collate function is not found where its data set and its sampler are
#
# One would guess: in a config with `default_scope`, whatever the library registered is found by its plain name, as
# in `dataset=dict(type='Numbers')`, `sampler=dict(type='Backwards')` and `collate_fn=dict(type='add_up')`.
# What happens: Runner.build_dataloader builds data set and sampler within the default scope and looks the collate
# function up in mmengine's own registry alone. The name of a library's function gives None, and the error is
# "the first argument must be callable", which names neither the function nor a registry. With the scope before the
# name ('lib.add_up') it is found.
#
# Version: mmengine 0.10.7, torch 2.14.1 (Python 3.11), seen on 2026-11-29:
#   dict(type='add_up')       TypeError: the first argument must be callable
#   dict(type='lib.add_up')   the batches
#
# Why it matters: the same config line works for pseudo_collate and default_collate, which are mmengine's, and
# for every other part of a loader. The message sends the reader to functools.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
"${PYTHON:-python3}" -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check mmengine==0.10.7 torch==2.14.1 numpy==2.4.6
cd "$dir"
"$dir/venv/bin/python" -W ignore - <<'PY'
import mmengine
from mmengine import registry
from mmengine.runner import Runner

print('mmengine', mmengine.__version__)
DATASETS, SAMPLERS, FUNCTIONS = (
    registry.Registry(root.name, parent=root, scope='lib')
    for root in (registry.DATASETS, registry.DATA_SAMPLERS, registry.FUNCTIONS)
)


@DATASETS.register_module()
class Numbers(list):
    def __init__(self):
        super().__init__(range(6))


@SAMPLERS.register_module()
class Backwards:
    def __init__(self, dataset, seed=None):
        self.order = list(reversed(range(len(dataset))))

    def __iter__(self):
        return iter(self.order)

    def __len__(self):
        return len(self.order)


@FUNCTIONS.register_module()
def add_up(numbers):
    return sum(numbers)


def batches(collate: str):
    loader = Runner.build_dataloader(
        dict(
            dataset=dict(type='Numbers'),
            sampler=dict(type='Backwards'),
            collate_fn=dict(type=collate),
            batch_size=3,
            num_workers=0,
        )
    )
    return list(loader)


with registry.DefaultScope.overwrite_default_scope('lib'):
    assert batches('pseudo_collate') == [[5, 4, 3], [2, 1, 0]]  # data set and sampler are found
    try:
        print('add_up:', batches('add_up'))
        raise SystemExit('found by its plain name: the finding is out of date')
    except TypeError as error:
        print('add_up:', error)
        assert str(error) == 'the first argument must be callable'
    print('lib.add_up:', batches('lib.add_up'))
    assert batches('lib.add_up') == [12, 3]
PY
echo 'as stated'
