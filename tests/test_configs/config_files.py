"""What the tests of the configs share: finding, loading and building them cheaply."""

import json
import warnings
from copy import deepcopy
from functools import cache
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch.overrides import TorchFunctionMode

from simmim_mm.cli.common import load_config
from simmim_mm.registry import MODELS

ROOT = Path(__file__).parents[2] / 'configs'
METHODS = ('simmim', 'sparse_simmim', 'mae', 'convmae', 'lsmae', 'pixmim')
RENAMED = json.loads((ROOT / 'renamed.json').read_text())


def names(*folders: str) -> list[str]:
    """Paths of the configs in folders below ``configs``, and of those that were there in 0.1."""
    files = [str(p.relative_to(ROOT)) for folder in folders for p in (ROOT / folder).glob('*.py')]
    return sorted([*files, *(old for old in RENAMED if old.rpartition('/')[0] in folders)])


FILES = names(*METHODS)


read = cache(load_config)


def load(name: str) -> Config:
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', FutureWarning)  # old names
        return deepcopy(read(ROOT / name))


def image_side(cfg: Config) -> int:
    """Pixels; CNNs are not built for a size, there it is the crop's."""
    return cfg.model.backbone.get('img_size', cfg.get('img_size'))


class _NoWeights(TorchFunctionMode):
    # Layers allocate their weights with torch.empty: on the meta device these have a shape and no
    # memory, so that the largest model builds in a second. All other tensors stay real.
    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is torch.empty:
            kwargs = dict(kwargs, device='meta')
        return func(*args, **kwargs)


def build_model(cfg: Config) -> torch.nn.Module:
    """The model of a config, without memory for its weights."""
    init_default_scope('simmim_mm')
    with _NoWeights():
        return MODELS.build(cfg.model)
