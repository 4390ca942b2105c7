"""Our models against the authors' code, on cases that were computed with it.

A case is a file of tensors: the authors' constructor arguments (``config``), their weights, inputs,
and what their code made of them. Every ``*.pth`` in ``tests/parity/cases`` is compared, or in the
folder that the environment variable ``SIMMIM_MM_PARITY`` names.
"""

import os
from pathlib import Path

import pytest
import torch
from mmengine.registry import init_default_scope
from mmpretrain.structures import DataSample
from torch.testing import assert_close

from simmim_mm.checkpoint import resize_position_bias
from simmim_mm.interop import convert, detect_family, load_converted, model_config, revert
from simmim_mm.models.target_generators.low_freq import low_pass_gain
from simmim_mm.registry import MODELS

FOLDER = Path(os.environ.get('SIMMIM_MM_PARITY') or Path(__file__).parent / 'cases')
CASES = sorted(FOLDER.glob('*.pth'))


def build(config: dict) -> torch.nn.Module:
    init_default_scope('simmim_mm')
    return MODELS.build(config)


def compare_model(case: dict) -> None:
    family = detect_family(case['state_dict'])
    model = build(model_config(family, case['config'])).eval()  # no stochastic depth
    conversion = convert(case['state_dict'], family)
    report = load_converted(model, conversion)
    assert report.complete, str(report)

    x, mask = case['inputs']['x'], case['inputs']['mask'].bool()
    samples = [DataSample() for _ in x]
    for sample, one in zip(samples, mask):
        sample.set_field(one, 'mask')
    outputs = dict(case['outputs'])
    loss = model.loss(x, samples)['loss']
    assert_close(loss.detach(), outputs.pop('loss'), rtol=1e-5, atol=0)
    loss.backward()

    with torch.no_grad():
        feats = model.backbone(x, mask)
        ours = dict(feature=feats[-1], target=model.target(x))
        ours['reconstruction'] = ours['prediction'] = model.neck(feats, mask)
    for name, theirs in outputs.items():
        assert_close(ours[name], theirs, rtol=0, atol=1e-4, msg=lambda m, n=name: f'{n}: {m}')

    # permuted weights keep the norm of their gradient; 1e-11 is for gradients that are nought
    norms = {
        conversion.mapped[name]: p.grad.norm()
        for name, p in model.named_parameters()
        if p.grad is not None
    }
    assert norms.keys() == case['grad_norms'].keys()
    for name, theirs in case['grad_norms'].items():
        close = torch.isclose(norms[name], torch.as_tensor(theirs), rtol=1e-3, atol=1e-11)
        assert close, f'gradient of {name}: {norms[name]:.6g}, theirs {theirs:.6g}'

    # and the weights go back to the authors unchanged
    restored = revert(model.state_dict(), family)
    for name in conversion.mapped.values():
        assert_close(restored[name], case['state_dict'][name], rtol=0, atol=0)


def compare_position_bias(case: dict) -> None:
    side = case['config']['window_to']
    table = resize_position_bias(case['inputs']['table'], (side, side))
    assert_close(table, case['outputs']['table'], rtol=0, atol=1e-4)


def compare_low_freq(case: dict) -> None:
    config = case['config']
    target = build(dict(type='LowFreq', radius=config['radius'], mode='reference'))
    target.set_pixel_stats(*(torch.tensor(config[k]).view(-1, 1, 1) for k in ('mean', 'std')))
    assert_close(target(case['inputs']['x']), case['outputs']['target'], rtol=0, atol=1e-4)
    gain = low_pass_gain([config['img_size']] * 2, config['radius'], half_bin_off=True)
    assert gain.sum() == case['outputs']['disc_bins']


def comparator(case: dict):
    """How a case is compared, by its family."""
    if case.get('state_dict'):
        return compare_model
    return compare_position_bias if 'SimMIM utils' in case['family'] else compare_low_freq


@pytest.mark.skipif(not CASES, reason=f'no parity cases (*.pth) in {FOLDER}')
@pytest.mark.parametrize('path', CASES, ids=lambda path: path.stem)
def test_parity(path: Path) -> None:
    case = torch.load(path, weights_only=True)
    comparator(case)(case)
