"""The one-page methods have the library's loss, bit for bit, and run."""

import os
import re
import subprocess
from pathlib import Path

import pytest
import torch
from docs_pages import shortened
from mmengine.structures import BaseDataElement

from simmim_mm.models.backbones import cpu_linear
from simmim_mm.registry import MODELS

EXAMPLES = Path(__file__).parents[1] / 'examples'
PREPROCESSOR = dict(
    type='MIMDataPreprocessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]
)
VIT = dict(
    type='MaskedViT',
    arch=dict(embed_dims=96, num_layers=4, num_heads=3, feedforward_channels=384),
    img_size=96,
    patch_size=8,
)
# Names of the examples to those of the library.
NAMES = (
    (r'^blocks\.', 'backbone.layers.'),
    (r'^decoder_blocks\.', 'neck.decoder_blocks.'),
    (r'^norm\.', 'backbone.ln1.'),
    (r'^patch_embed\.', 'backbone.patch_embed.projection.'),
    (r'^(cls_token|pos_embed)', r'backbone.\1'),
    (r'\.(qkv|proj)\.', r'.attn.\1.'),
    (r'\.fc1\.', '.ffn.layers.0.0.'),
    (r'\.fc2\.', '.ffn.layers.1.'),
    (r'^decoder_norm\.', 'neck.ln1.'),
    (r'^decoder', 'neck.decoder'),
)


@pytest.fixture
def example(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.setattr(cpu_linear, '_one_dnn', lambda: None)  # it sums in another order
    return __import__


def compare(model, config: dict, loss_of, images, mask, mask_token: str) -> None:
    """Give the example's weights to the library's model: the losses are equal."""
    other = MODELS.build(dict(type='MaskedImageModel', data_preprocessor=PREPROCESSOR, **config))
    state = {}
    for name, value in model.state_dict().items():
        for pattern, new in NAMES:
            name = re.sub(pattern, new, name)
        state[mask_token if name == 'mask_token' else name] = value
    own = other.state_dict()
    state = {name: value.reshape(own[name].shape) for name, value in state.items()}
    missing, unexpected = other.load_state_dict(state, strict=False)
    assert not missing and not unexpected
    samples = [BaseDataElement(mask=one) for one in mask]
    loss = other.loss(images, samples)['loss']
    assert torch.equal(loss, loss_of(images, mask))


@pytest.mark.parametrize('seed', [0, 1])
def test_simmim(example, seed):
    simmim = example('simmim_minimal')
    torch.manual_seed(seed)
    model = simmim.SimMIM()
    config = dict(
        backbone=dict(VIT, with_cls_token=False),
        neck=dict(type='PixelShuffleDecoder'),
        head=dict(type='PixelHead'),
    )
    images, mask = simmim.random_crops(2), simmim.random_masks(2)
    compare(model, config, model, images, mask, 'backbone.mask_token')


MAE = dict(
    backbone=dict(VIT, mask_mode='gather'),
    neck=dict(
        type='TransformerDecoder', decoder_embed_dim=64, decoder_depth=2, decoder_num_heads=4
    ),
    head=dict(type='PixelHead', loss=dict(type='MaskedPixelLoss', criterion='l2')),
)


@pytest.mark.parametrize('seed', [0, 1])
def test_mae(example, seed):
    mae = example('mae_minimal')
    torch.manual_seed(seed)
    model = mae.MAE()
    config = dict(MAE, target=[dict(type='NormPix')])
    compare(model, config, model, mae.random_crops(2), mae.random_masks(2), 'neck.mask_token')


@pytest.mark.parametrize('seed', [0, 1])
def test_pixmim(example, seed):
    pixmim = example('pixmim_minimal')
    torch.manual_seed(seed)
    model = pixmim.MAE()
    low = dict(type='LowFreq', radius_ratio=40 / 112, mode='centered')
    config = dict(MAE, target=[low, dict(type='NormPix')])
    images, mask = pixmim.simple_resized_crops(2), pixmim.random_masks(2)
    compare(model, config, lambda *x: pixmim.loss_of(model, *x), images, mask, 'neck.mask_token')


@pytest.mark.parametrize('name', ['simmim', 'mae', 'pixmim'])
def test_they_run_and_learn(name, python, tmp_path):
    text = (EXAMPLES / f'{name}_minimal.py').read_text()
    path = tmp_path / 'smaller_batches.py'
    path.write_text(shortened(text, {'(16)': '(8)'}))
    env = dict(os.environ, PYTHONPATH=str(EXAMPLES))
    result = subprocess.run([python, str(path)], capture_output=True, text=True, env=env)
    assert result.returncode == 0, result.stderr
    losses = [float(line.split()[-1]) for line in result.stdout.splitlines()]
    assert len(losses) == 6 and losses[-1] < losses[0]
    assert len(text.splitlines()) <= 90 and 'simmim_mm' not in text and 'mmengine' not in text
