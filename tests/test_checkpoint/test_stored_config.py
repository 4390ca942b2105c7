import math

import pytest
import torch
from mmengine.config import Config
from vis_toys import tiny_config

import simmim_mm.models.backbones  # noqa: F401
from simmim_mm.checkpoint import CheckpointError, open_run, read_config
from simmim_mm.checkpoint.stored_config import check_types, parse_config
from simmim_mm.registry import MODELS, TRANSFORMS


def test_what_mmengine_stores_comes_back():
    cfg = tiny_config(target=[dict(type='LocalNorm')])
    cfg.merge_from_dict(
        dict(
            a=(1, -2.5, None), b={1: [True, {'x y': 'q'}]}, c=-math.inf, d="it's", e=(3,), f={1, 2}
        )
    )
    assert parse_config(cfg.pretty_text).to_dict() == cfg.to_dict()


@pytest.mark.parametrize(
    'text',
    [
        'import os',
        'model = __import__("os").system("false")',
        'model = dict(type=open("x"))',
        'model = [c for c in ().__class__.__base__.__subclasses__()]',
        'model = dict(**vars())',
        'model = eval("1")',
        'model += 1',
        'a.b = 1',
        'def f(): pass',
        'model = f"{1}"',
    ],
)
def test_code_is_refused(text):
    with pytest.raises(ValueError, match='line 2 is code'):
        parse_config(f'ok = 1\n{text}\n')


def test_other_text_is_refused():
    with pytest.raises(ValueError, match='not Python'):
        parse_config('a = (')


def test_registered_types_pass():
    cfg = tiny_config()
    check_types(cfg.model.to_dict(), MODELS)
    check_types(cfg.train_dataloader.dataset.pipeline, TRANSFORMS)
    check_types(dict(type='mmpretrain.VisionTransformer', norm_cfg=dict(type='LN')), MODELS)


@pytest.mark.parametrize('kind', ['subprocess.Popen', 'os.system', 'mmpretrain.get_model', 'Popen'])
def test_types_outside_the_registries_are_refused(kind):
    """mmengine would import and call each of them."""
    cfg = Config(dict(model=dict(type='MaskedImageModel', neck=[dict(type=kind, args='false')])))
    with pytest.raises(ValueError, match=kind):
        check_types(cfg.model, MODELS)


def test_the_config_of_a_checkpoint_is_read_or_refused_with_its_file():
    text = 'model = dict(type="X")'
    assert read_config(dict(meta=dict(cfg=text)), 'a.pth').model.type == 'X'
    for checkpoint in ({}, dict(meta=None), dict(meta=dict(cfg=3))):
        with pytest.raises(CheckpointError, match=r'a\.pth carries no config.*, or guess it'):
            read_config(checkpoint, 'a.pth', 'guess it')
    with pytest.raises(CheckpointError, match=r'config in a\.pth is not read: line 1 is code'):
        read_config(dict(meta=dict(cfg='import os')), 'a.pth')


def test_types_are_checked_unless_the_config_is_given(tmp_path):
    torch.save(
        dict(meta=dict(cfg='model = dict(type="os.system")'), x=torch.ones(1)), tmp_path / 'a'
    )
    config = Config(dict(model=dict(type='os.system')))

    def parts(config: Config) -> list:
        return [(config.model, MODELS)]

    with pytest.raises(CheckpointError, match=r"'os\.system' is not a registered.*--config"):
        open_run(tmp_path / 'a', None, parts)
    found, state = open_run(tmp_path / 'a', config, parts)
    assert found is config and list(state) == ['x']
