import copy
import math

import pytest
import torch
from masked_backbone_suite import MaskedBackboneSuite, scramble
from mmpretrain.models.backbones import SwinTransformerV2
from torch.testing import assert_close

from simmim_mm.models.backbones import MaskedSwinV2

ARCH = dict(embed_dims=12, depths=[2, 2, 1, 1], num_heads=[1, 2, 3, 4], extra_norm_every_n_blocks=0)


class TestMaskedSwinV2(MaskedBackboneSuite):
    backbone = MaskedSwinV2
    reference = SwinTransformerV2
    kwargs = dict(arch=ARCH, img_size=64, window_size=4, drop_path_rate=0.0, out_indices=(0, 3))
    reference_kwargs = dict(window_size=(4, 4, 4, 2))


def compare(native, reference, x):
    """Same weights, same features, same gradients."""
    state = {k: v for k, v in native.state_dict().items() if k != 'mask_token'}
    reference.load_state_dict(copy.deepcopy(state), strict=False)
    for model in (native, reference):
        generator = torch.Generator().manual_seed(5)
        sum((o * torch.randn(o.shape, generator=generator)).sum() for o in model(x)).backward()
    for a, b in zip(native(x), reference(x)):
        assert_close(a, b, rtol=1e-5, atol=1e-5)
    grads = {k: p.grad for k, p in native.named_parameters()}
    for name, p in reference.named_parameters():
        assert (grads[name] - p.grad).norm() <= 1e-4 * p.grad.norm() + 1e-5, name


@pytest.mark.parametrize('size', [(64, 64), (50, 90), (27, 33)])
def test_features_and_gradients_are_those_of_mmpretrain(size):
    """Padded maps, extra norms, position embedding and windows of another pretraining."""
    kwargs = dict(
        arch={**ARCH, 'extra_norm_every_n_blocks': 2},
        img_size=64,
        window_size=6,
        drop_path_rate=0.0,
        pad_small_map=True,
        use_abs_pos_embed=True,
        pretrained_window_sizes=[12, 12, 12, 6],
        out_indices=(0, 1, 2, 3),
    )
    x = torch.randn(2, 3, *size)
    compare(scramble(MaskedSwinV2(**kwargs)), SwinTransformerV2(**kwargs), x)


@pytest.mark.parametrize(
    'img_size, window, expected',
    [(192, 12, [12, 12, 12, 6]), ((96, 160), 6, [6, 6, 6, 3]), (64, (8, 4, 4, 4), [8, 4, 4, 2])],
)
def test_window_is_clamped_to_the_map(img_size, window, expected):
    model = MaskedSwinV2(arch=ARCH, img_size=img_size, window_size=window)
    assert [stage.blocks[0].attn.window_size for stage in model.stages] == expected
    tables = [stage.blocks[0].attn.w_msa.relative_coords_table for stage in model.stages]
    assert [t.shape[1] for t in tables] == [2 * w - 1 for w in expected]


def test_logit_scale_is_clamped_at_100():
    """Section 3.3 of the paper: the temperature is at least 0.01."""
    model, x = (
        scramble(MaskedSwinV2(arch=ARCH, img_size=64, window_size=4)),
        torch.randn(1, 3, 64, 64),
    )
    scales = [p for name, p in model.named_parameters() if name.endswith('logit_scale')]
    outs = []
    for value in (math.log(100), 9.0):
        for p in scales:
            torch.nn.init.constant_(p, value)
        outs.append(model(x)[-1])
    assert_close(*outs, rtol=1e-4, atol=1e-5)


def test_attention_logits_are_float32_under_autocast():
    """At scale 100 bfloat16 would round logits by up to 0.25 and lose close keys."""
    model = scramble(MaskedSwinV2(arch=ARCH, img_size=64, window_size=4))
    attn = model.stages[0].blocks[0].attn
    torch.nn.init.constant_(attn.w_msa.logit_scale, math.log(100))
    qkv = torch.randn(1, 16, 3, 1, 12).bfloat16()
    with torch.autocast('cpu', torch.bfloat16):
        half = attn.attend(qkv, None)
    assert half.dtype == torch.bfloat16
    assert_close(half.float(), attn.attend(qkv.float(), None), rtol=1e-2, atol=1e-2)


def test_every_block_starts_as_the_identity():
    """Residual post-norm: the norms that end the branches are zero at the start (authors' code)."""
    model = MaskedSwinV2(arch=ARCH, img_size=64, window_size=4, out_indices=(0, 3))
    model.init_weights()
    x = torch.randn(1, 3, 64, 64)
    tokens, size = model.patch_embed(x)
    expected = model.norm0(tokens).unflatten(1, size).permute(0, 3, 1, 2)
    assert_close(model(x)[0], expected, rtol=0, atol=0)
    assert (model.norm3.weight == 1).all() and (model.stages[1].downsample.norm.weight == 1).all()
    assert model.mask_token.std() > 0
    assert_close(
        model.stages[0].blocks[0].attn.w_msa.logit_scale.exp(), torch.full((1, 1, 1), 10.0)
    )


def test_weights_of_another_window_need_no_resizing():
    source = scramble(MaskedSwinV2(arch=ARCH, img_size=64, window_size=4))
    model = MaskedSwinV2(
        arch=ARCH, img_size=128, window_size=8, pretrained_window_sizes=[4, 4, 4, 2]
    )
    model.load_state_dict(source.state_dict(), strict=True)
    # the same offset keeps its bias: offsets are normalized by the window of the pretraining
    biases = []
    for m in (source, model):
        msa = m.stages[0].blocks[0].attn.w_msa
        table = msa.cpb_mlp(msa.relative_coords_table)[0]
        center = table.shape[0] // 2
        biases.append(table[center - 2 : center + 3, center - 2 : center + 3])
    assert_close(biases[1], biases[0])


def test_checkpointing_changes_nothing():
    x, grads = torch.randn(2, 3, 64, 64), []
    for with_cp in (False, True):
        model = scramble(MaskedSwinV2(arch=ARCH, img_size=64, window_size=4, with_cp=with_cp))
        model(x)[-1].square().sum().backward()
        grads.append({k: p.grad for k, p in model.named_parameters() if p.grad is not None})
    for name, grad in grads[0].items():
        assert_close(grads[1][name], grad, rtol=1e-5, atol=1e-6)
