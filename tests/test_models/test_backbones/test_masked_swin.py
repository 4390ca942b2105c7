import copy

import pytest
import torch
from masked_backbone_suite import MaskedBackboneSuite, scramble
from mmpretrain.models.backbones import SwinTransformer
from mmpretrain.models.selfsup.simmim import SimMIMSwinTransformer
from mmpretrain.models.utils import ShiftWindowMSA
from torch.testing import assert_close

from simmim_mm.models.backbones import MaskedSwin, window_attention
from simmim_mm.models.backbones.window_attention import (
    CPUAttention,
    fused_attention,
    window_layout,
)

ARCH = dict(embed_dims=12, depths=[2, 2, 1, 1], num_heads=[1, 2, 3, 4])


def windows(*sizes):
    return [dict(window_size=w) for w in sizes]


class TestMaskedSwin(MaskedBackboneSuite):
    backbone = MaskedSwin
    reference = SwinTransformer
    kwargs = dict(arch=ARCH, img_size=64, window_size=4, drop_path_rate=0.0, out_indices=(0, 3))
    reference_kwargs = dict(stage_cfgs=windows(4, 4, 4, 2))


def compare(native, reference, x, mask=None, tol=1e-5):
    """Same weights, same features, same gradients."""
    state = {k: v for k, v in native.state_dict().items() if mask is not None or k != 'mask_token'}
    reference.load_state_dict(copy.deepcopy(state), strict=True)
    args = (x,) if mask is None else (x, mask)
    for model in (native, reference):
        model.zero_grad()
        outs = model(*args)
        generator = torch.Generator().manual_seed(5)
        sum((o * torch.randn(o.shape, generator=generator)).sum() for o in outs).backward()
    for a, b in zip(native(*args), reference(*args)):
        assert_close(a, b, rtol=tol, atol=tol)
    grads = {k: p.grad for k, p in native.named_parameters()}
    for name, p in reference.named_parameters():
        assert (grads[name] - p.grad).norm() <= 1e-4 * p.grad.norm() + 1e-6, name


@pytest.mark.parametrize('size', [(64, 64), (64, 96)])
def test_masked_features_and_gradients_are_those_of_mmpretrain(size):
    kwargs = dict(arch=ARCH, img_size=size, out_indices=(3,), drop_path_rate=0.0)
    kwargs.update(use_abs_pos_embed=True)
    native = scramble(MaskedSwin(window_size=4, **kwargs))
    reference = SimMIMSwinTransformer(stage_cfgs=windows(4, 4, 4, 2), **kwargs)
    x = torch.randn(2, 3, *size)
    mask = torch.rand(2, size[0] // 4, size[1] // 4) < 0.5
    compare(native, reference, x, mask)


@pytest.mark.parametrize('size', [(64, 64), (50, 90), (27, 33)])
@pytest.mark.parametrize('after', [False, True])
def test_padded_maps_are_treated_as_in_mmpretrain(size, after):
    """As a detector's backbone: any size, window everywhere, maps after or before merging."""
    kwargs = dict(
        arch=ARCH,
        img_size=64,
        window_size=6,
        drop_path_rate=0.0,
        pad_small_map=True,
        out_indices=(0, 1, 2, 3),
        out_after_downsample=after,
    )
    x = torch.randn(2, 3, *size)
    compare(scramble(MaskedSwin(**kwargs)), SwinTransformer(**kwargs), x)


@pytest.mark.parametrize(
    'img_size, window, expected',
    [
        (192, 6, [6, 6, 6, 6]),
        (192, 12, [12, 12, 12, 6]),
        (96, 6, [6, 6, 6, 3]),
        ((96, 160), 6, [6, 6, 6, 3]),
        ((160, 32), 7, [7, 4, 2, 1]),
        (100, 8, [8, 8, 7, 4]),
    ],
)
def test_window_is_clamped_to_the_map(img_size, window, expected):
    model = MaskedSwin(arch=ARCH, img_size=img_size, window_size=window)
    attention = [stage.blocks[0].attn for stage in model.stages]
    assert [a.window_size for a in attention] == expected
    sides = [len(a.w_msa.relative_position_bias_table) for a in attention]
    assert sides == [(2 * w - 1) ** 2 for w in expected]
    x = torch.randn(1, 3, *(img_size if isinstance(img_size, tuple) else (img_size, img_size)))
    assert all(out.isfinite().all() for out in model(x))


def test_one_window_attends_to_the_whole_map_without_shift():
    """Where a window spans the map, the shifted block must see all of it (authors' rule)."""
    arch = dict(embed_dims=8, depths=[2], num_heads=[2])
    model = scramble(MaskedSwin(arch=arch, img_size=16, window_size=7, out_indices=(0,))).eval()
    model.stages[0].blocks[0] = model.stages[0].blocks[1]  # only blocks that would shift
    x = torch.randn(1, 3, 16, 16)
    x.requires_grad_()
    model(x)[0][0, :, 0, 0].sum().backward()
    reached = x.grad.abs().sum(1)[0].view(4, 4, 4, 4).sum((1, 3)) > 0
    assert reached.all()


def test_other_sizes_than_the_one_built_for():
    model = MaskedSwin(arch=ARCH, img_size=64, window_size=4, use_abs_pos_embed=True).eval()
    for size in ((32, 32), (64, 128), (75, 61), (16, 16)):
        x = torch.randn(1, 3, *size)
        assert model(x)[-1].shape[-2:] == tuple(-(-n // 32) for n in size)


def test_checkpointing_changes_nothing():
    x, grads = torch.randn(2, 3, 64, 64), []
    for with_cp in (False, True):
        model = scramble(MaskedSwin(arch=ARCH, img_size=64, window_size=4, with_cp=with_cp))
        model(x, torch.ones(2, 16, 16, dtype=torch.bool).triu())[-1].square().sum().backward()
        grads.append({k: p.grad for k, p in model.named_parameters()})
    for name, grad in grads[0].items():
        assert_close(grads[1][name], grad, rtol=1e-5, atol=1e-6)


def test_frozen_stages_stay_as_they_are():
    model = scramble(MaskedSwin(arch=ARCH, img_size=64, window_size=4, frozen_stages=0)).train()
    model(torch.randn(1, 3, 64, 64))[-1].square().sum().backward()
    touched = {k.split('.blocks')[0] for k, p in model.named_parameters() if p.grad is not None}
    assert not touched & {'stages.0', 'patch_embed.projection.weight'}
    assert 'stages.1' in touched


# ---- weights ----


def test_initialization_is_the_authors():
    torch.manual_seed(0)
    model = MaskedSwin(arch='tiny', img_size=192, window_size=6, use_abs_pos_embed=True)
    model.init_weights()
    for name, p in model.named_parameters():
        if 'norm' in name:
            assert (p == (1 if name.endswith('weight') else 0)).all(), name
        elif name.endswith('bias') and 'projection' not in name:
            assert not p.any(), name
        elif 'projection' not in name:  # trunc_normal of std 0.02
            # the smallest tensor has 96 values: its std is good to some 25 %
            assert 0.013 < p.std() < 0.027, name
            assert p.abs().max() < 0.14, f'{name}: an outlier of 7 sigma'


def test_pretrained_weights_survive_initialization(tmp_path):
    kwargs = dict(arch=ARCH, img_size=64, window_size=4)
    source = scramble(MaskedSwin(**kwargs))
    state = {f'backbone.{k}': v for k, v in source.state_dict().items()}
    torch.save(dict(state_dict=state), tmp_path / 'run.pth')
    init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'run.pth'), prefix='backbone.')
    for cfg in (init_cfg, [init_cfg]):
        model = MaskedSwin(**kwargs, init_cfg=cfg)
        model.init_weights()
        for name, p in source.named_parameters():
            assert_close(dict(model.named_parameters())[name], p, rtol=0, atol=0)


@pytest.mark.parametrize('with_index', [False, True])
def test_weights_of_another_window_are_fitted(with_index):
    """From pretraining (last window clamped to 2) to a detector with a window of 7."""
    source = scramble(MaskedSwin(arch=ARCH, img_size=64, window_size=4))
    state = source.state_dict()
    if not with_index:
        state = {k: v for k, v in state.items() if 'relative_position_index' not in k}
    model = MaskedSwin(arch=ARCH, img_size=224, window_size=7, pad_small_map=True)
    model.load_state_dict(state, strict=True)
    key = 'stages.0.blocks.0.attn.w_msa.relative_position_bias_table'
    old, new = state[key].view(7, 7, -1), model.state_dict()[key].view(13, 13, -1)
    assert_close(new[6, 6], old[3, 3])  # the center and its neighbors keep their values
    assert (new[5:8, 5:8] - old[2:5, 2:5]).abs().max() < 0.1 * old.abs().max()
    assert_close(
        model.stages[0].blocks[0].attn.w_msa.proj.weight,
        state[key.replace('relative_position_bias_table', 'proj.weight')],
    )


# ---- attention ----


@pytest.mark.parametrize('shift', [0, 1, 3])
def test_layout_is_roll_then_windows(shift):
    H, W, w = 8, 12, 4
    layout = window_layout(H, W, w, shift, torch.device('cpu'))
    x = torch.randn(2, H, W, 5)
    expected = ShiftWindowMSA.window_partition(x.roll((-shift, -shift), (1, 2)), w)
    tokens = x.flatten(1, 2)
    assert_close(tokens[:, layout.order], expected.view(2, -1, 5), rtol=0, atol=0)
    assert_close(tokens[:, layout.order][:, layout.inverse], tokens, rtol=0, atol=0)
    mask = ShiftWindowMSA.get_attn_mask((H, W), w, shift)
    assert (layout.shift_mask is None) == (mask is None)
    if shift:
        assert_close(layout.shift_mask[:, 0], mask, rtol=0, atol=0)


def formula(qkv, bias, scale):
    q, k, v = qkv.permute(2, 0, 3, 1, 4)
    bias = bias.repeat(len(q) // len(bias), 1, 1, 1)
    return ((scale * q @ k.transpose(-2, -1) + bias).softmax(-1) @ v).transpose(1, 2).flatten(2)


@pytest.mark.parametrize('attention', [CPUAttention.apply, fused_attention])
@pytest.mark.parametrize('n_bias', [1, 2])
def test_attention_is_the_formula_with_its_gradients(attention, n_bias):
    qkv = torch.randn(4, 4, 3, 3, 2, dtype=torch.double, requires_grad=True)
    bias = torch.randn(n_bias, 3, 4, 4, dtype=torch.double, requires_grad=True)
    assert_close(attention(qkv, bias, 0.3), formula(qkv, bias, 0.3))
    torch.autograd.gradcheck(lambda x, b: attention(x, b, 0.3), (qkv, bias))


@pytest.mark.parametrize('instructions', [True, False])
def test_attention_in_bfloat16_adds_the_bias_in_float32(monkeypatch, instructions):
    """A large common bias must not eat the differences between keys."""
    monkeypatch.setattr(window_attention, 'cpu_has_bfloat16', lambda: instructions)
    qkv = torch.randn(2, 9, 3, 2, 8).bfloat16().requires_grad_()
    bias = torch.randn(2, 2, 9, 9).requires_grad_()
    exact_qkv, exact_bias = (x.detach().double().requires_grad_() for x in (qkv, bias))
    with torch.autocast('cpu', torch.bfloat16):
        out = CPUAttention.apply(qkv, bias + 64, 0.3)
    exact = formula(exact_qkv, exact_bias, 0.3)
    assert out.dtype == qkv.dtype == torch.bfloat16
    assert_close(out.double(), exact, rtol=8e-3, atol=8e-3)

    weight = torch.randn(exact.shape).bfloat16()
    (out * weight).sum().backward()
    (exact * weight.double()).sum().backward()
    for grad, expected in ((qkv.grad, exact_qkv.grad), (bias.grad, exact_bias.grad)):
        assert (grad.double() - expected).norm() < 0.01 * expected.norm()


def test_masked_neighbors_leave_no_subnormal_numbers():
    """Intel CPUs are ten times slower at them; what replaces them changes nothing."""
    qkv = torch.randn(2, 9, 3, 2, 8, requires_grad=True)
    bias = torch.randn(2, 2, 9, 9)
    bias[..., ::2] -= 100
    out = CPUAttention.apply(qkv, bias, 0.3)
    assert out.grad_fn.saved_tensors[-1].min() > 1e-30
    assert_close(out, formula(qkv, bias, 0.3))


def test_attention_dropout_is_for_training():
    stage_cfgs = dict(block_cfgs=dict(attn_cfgs=dict(attn_drop=0.5)))
    model = scramble(MaskedSwin(arch=ARCH, img_size=64, window_size=4, stage_cfgs=stage_cfgs))
    x = torch.randn(1, 3, 64, 64)
    assert not torch.equal(model(x)[-1], model(x)[-1])
    model.eval()
    assert torch.equal(model(x)[-1], model(x)[-1])
