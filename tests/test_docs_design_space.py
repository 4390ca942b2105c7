"""The snippets of the page on design choices are configs that build."""

import re
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.registry import init_default_scope

from simmim_mm.models.necks import InverseSwinDecoder, MLPDecoder, PixelShuffleDecoder
from simmim_mm.registry import MODELS

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / 'docs/reference/design_space.md').read_text()
BASE = ROOT / re.search(r"_base_ = '(.*)'", TEXT).group(1)
SNIPPETS = re.findall(r'```python\n(.*?)```', TEXT, re.DOTALL)


@pytest.mark.parametrize('number', range(len(SNIPPETS)))
def test_builds(number, tmp_path):
    (tmp_path / 'config.py').write_text(f"_base_ = '{BASE}'\n" + SNIPPETS[number])
    cfg = Config.fromfile(tmp_path / 'config.py')
    init_default_scope(cfg.default_scope)
    model = MODELS.build(cfg.model)
    assert cfg.model != Config.fromfile(BASE).model
    assert model.head.loss_fn.pred_channels(model.target.out_channels(3)) == model.neck.out_channels


def test_the_numbers_of_parameters_are_right():
    stated = re.findall(r'\| ([\d.]+)M(?: \(paper: ([\d.]+)M\))? \|', TEXT)
    import torch

    with torch.device('meta'):
        decoders = [
            PixelShuffleDecoder(1024, 32),
            MLPDecoder(1024, 32),
            InverseSwinDecoder(1024, 'tiny'),
            InverseSwinDecoder(1024, 'base'),
        ]
    millions = [sum(p.numel() for p in d.parameters()) / 1e6 for d in decoders]
    encoder = 89.9 - millions[0]
    assert [f'{encoder + m:.1f}' for m in millions] == [number for number, _ in stated]
