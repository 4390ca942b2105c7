"""Files of other hands, wrapped: they load, or a CheckpointError says why."""

from pathlib import Path

import pytest
import torch

from simmim_mm.checkpoint import CheckpointError, load_backbone, load_weights
from simmim_mm.interop import convert_checkpoint
from simmim_mm.models.backbones import MaskedSwin

ARCH = dict(embed_dims=8, depths=[1, 1, 1, 1], num_heads=[1, 2, 4, 8])


@pytest.fixture(scope='module')
def weights() -> dict:
    timm = pytest.importorskip('timm')
    torch.manual_seed(0)
    sizes = dict(embed_dim=8, depths=(1,) * 4, num_heads=(1, 2, 4, 8), num_classes=0)
    return timm.create_model('swin_tiny_patch4_window7_224', **sizes).state_dict()


def native(path: Path) -> dict:
    state = load_weights(path)['state_dict']
    return {k: v for k, v in state.items() if k.startswith('backbone.')}


def behind(prefix: str, weights: dict) -> dict:
    return {prefix + name: tensor for name, tensor in weights.items()}


def zeros(weights: dict) -> dict:
    return {name: torch.zeros_like(tensor) for name, tensor in weights.items()}


WRAPPED = {
    'prefix module': lambda w: dict(state_dict=behind('module.', w)),
    'prefix model': lambda w: behind('model.', w),
    'prefixes of two wrappers': lambda w: dict(model=behind('_orig_mod.module.', w)),
    'a name of ours': lambda w: behind('module.encoder.', w),
    'model_state_dict': lambda w: dict(model_state_dict=w, optimizer={'state': {}}),
    'teacher': lambda w: dict(student=behind('module.', zeros(w)), teacher=behind('module.', w)),
    'teacher beside student': lambda w: {
        **behind('student.backbone.', zeros(w)),
        **behind('teacher.backbone.', w),
    },
    'nested': lambda w: dict(net=dict(ema=w)),
    'averaged': lambda w: dict(state_dict=w, state_dict_ema=zeros(w)),
}


@pytest.mark.parametrize('kind', WRAPPED)
def test_what_wrappers_put_around_weights_is_taken_off_and_said(tmp_path, weights, kind):
    torch.save(weights, tmp_path / 'plain.pth')
    torch.save(WRAPPED[kind](weights), tmp_path / 'wrapped.pth')
    convert_checkpoint(tmp_path / 'plain.pth', tmp_path / 'a.pth')
    _, _, report = convert_checkpoint(tmp_path / 'wrapped.pth', tmp_path / 'b.pth')
    expected, got = native(tmp_path / 'a.pth'), native(tmp_path / 'b.pth')
    assert expected.keys() == got.keys()
    assert all(torch.equal(expected[name], got[name]) for name in expected)
    if 'prefix' in kind:
        assert 'taken off' in str(report)
    if kind in ('teacher', 'teacher beside student'):
        assert 'teacher' in str(report) and 'not student' in str(report)
    if kind == 'averaged':
        assert 'state_dict taken, not state_dict_ema' in str(report)


def test_the_other_weights_can_be_asked_for(tmp_path, weights):
    torch.save(dict(student=zeros(weights), teacher=weights), tmp_path / 'x.pth')
    convert_checkpoint(tmp_path / 'x.pth', tmp_path / 'y.pth', entry='student')
    assert not any(v.any() for v in native(tmp_path / 'y.pth').values() if v.is_floating_point())
    with pytest.raises(CheckpointError, match=r"'ema': choose from teacher, student"):
        convert_checkpoint(tmp_path / 'x.pth', tmp_path / 'z.pth', entry='ema')


@pytest.mark.parametrize('prefix', [None, 'backbone.'])
@pytest.mark.parametrize('wrapper', ['module.', 'teacher.module.', '_orig_mod.'])
def test_a_backbone_loads_from_wrapped_weights(tmp_path, prefix, wrapper):
    model, other = MaskedSwin(ARCH), MaskedSwin(ARCH)
    state = behind(f'{wrapper}backbone.', other.state_dict())
    torch.save(dict(model_state_dict=state), tmp_path / 'w.pth')
    report = load_backbone(model, tmp_path / 'w.pth', prefix)
    assert f"prefix '{wrapper}backbone.'" in str(report) and not report.missing
    assert all(map(torch.equal, model.state_dict().values(), other.state_dict().values()))
