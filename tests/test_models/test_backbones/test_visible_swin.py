"""Swin and Swin v2 in gather mode: only the visible tokens are encoded."""

import copy
import math

import numpy as np
import pytest
import torch
from masked_backbone_suite import MaskedBackboneSuite, scramble
from mmpretrain.models.backbones import SwinTransformer, SwinTransformerV2
from mmpretrain.structures import DataSample
from torch.testing import assert_close

from simmim_mm.masking import upsample_mask
from simmim_mm.models.algorithms import MaskedImageModel
from simmim_mm.models.backbones import MaskedSwin, MaskedSwinV2
from simmim_mm.models.backbones.visible_windows import pack, z_order

ARCH = dict(embed_dims=12, depths=[2, 2, 1, 1], num_heads=[1, 2, 3, 4])
ARCH_V2 = dict(ARCH, extra_norm_every_n_blocks=2)
WINDOWS = (4, 4, 4, 2)


class VisibleSuite(MaskedBackboneSuite):
    """With a mask the output is tokens, so the suite's tests on masked maps are replaced."""

    size = (128, 192)
    mask_mode = 'gather'
    extra_keys = frozenset()

    def build_reference(self, **overrides):
        kwargs = {k: v for k, v in self.kwargs.items() if k not in ('mask_mode', 'window_size')}
        reference = self.reference(**{**kwargs, **self.reference_kwargs, **overrides})
        reference.eval()
        return reference

    def test_maps_and_tokens_are_what_it_says(self):
        super().test_maps_and_tokens_are_what_it_says()
        assert self.build().token_stride == 32

    def test_empty_mask_is_no_mask(self):
        model, x = self.build(out_indices=(0, 1, 2, 3), use_abs_pos_embed=True), self.images()
        maps, grads = model(x), []
        tokens = model(x, torch.zeros(2, 4, 6, dtype=torch.bool))
        for outs in ([m.flatten(2).transpose(1, 2) for m in maps], tokens):
            model.zero_grad()
            sum((out * out.detach().cos()).sum() for out in outs).backward()
            grads.append([p.grad for p in model.parameters()])
        for plain, gathered in zip(maps, tokens):
            assert_close(gathered, plain.flatten(2).transpose(1, 2), rtol=1e-5, atol=1e-5)
        for (name, _), plain, gathered in zip(model.named_parameters(), *grads):
            assert (gathered - plain).norm() < 1e-4 * plain.norm() + 1e-4, name

    def test_mask_matters_and_no_mask_is_finite(self):
        model, x = self.build(), self.images()
        mask = self.mask(model, x)
        plain, tokens = model(x)[-1], model(x, mask)[-1]
        visible = plain.permute(0, 2, 3, 1)[~mask].view(tokens.shape)
        assert tokens.isfinite().all() and not torch.allclose(tokens, visible, atol=1e-3)

    def test_mask_token_learns_only_under_a_mask(self):
        assert 'mask_token' not in dict(self.build().named_parameters())

    @pytest.mark.parametrize('factor', [(1, 2), (2, 1)])
    def test_height_and_width_may_differ(self, factor):
        size = tuple(n * f for n, f in zip(self.size, factor))
        model, x = self.build(img_size=size), self.images(size=size)
        mask = self.mask(model, x)
        assert model(x, mask)[-1].shape[:2] == (2, (~mask[0]).sum())

    def test_nothing_of_a_masked_pixel_is_encoded_not_even_nan(self):
        model, x = self.build(), self.images()
        mask = self.mask(model, x)
        broken = x.masked_fill(upsample_mask(mask, self.size), float('nan'))
        assert_close(model(broken, mask)[-1], model(x, mask)[-1], rtol=0, atol=0)

    def test_checkpointing_changes_nothing(self):
        x, outs = self.images(), []
        for with_cp in (False, True):
            model = self.build(with_cp=with_cp).train()
            outs.append(model(x, self.mask(model, x))[-1])
            outs[-1].square().sum().backward()
            outs.append(model.stages[0].blocks[0].norm1.weight.grad)
        assert_close(outs[2:], outs[:2])


class TestSwin(VisibleSuite):
    backbone, reference = MaskedSwin, SwinTransformer
    kwargs = dict(
        arch=ARCH,
        img_size=(128, 192),
        window_size=WINDOWS,
        out_indices=(0, 3),
        mask_mode='gather',
    )
    reference_kwargs = dict(stage_cfgs=[dict(window_size=w) for w in WINDOWS], drop_path_rate=0.0)


class TestSwinV2(VisibleSuite):
    backbone, reference = MaskedSwinV2, SwinTransformerV2
    kwargs = dict(TestSwin.kwargs, arch=ARCH_V2)
    reference_kwargs = dict(window_size=WINDOWS, drop_path_rate=0.0)


# ---- against the definition ----


def attention(module, x, visible):
    """Attention by definition: of all pairs of a map, those in a window, of a visible key."""
    B, H, W, C = x.shape
    msa, window = module.w_msa, module.window_size
    shift = module.shift_size if min(H, W) > window else 0
    row, col = (
        n.flatten() for n in torch.meshgrid(torch.arange(H), torch.arange(W), indexing='ij')
    )
    down, across = (n.div(window, rounding_mode='floor') for n in (row - shift, col - shift))
    same = (down[:, None] == down) & (across[:, None] == across)
    offset = [(n[:, None] - n).clamp(1 - window, window - 1) + window - 1 for n in (row, col)]
    index = offset[0] * (2 * window - 1) + offset[1]

    qkv = module.project(x.flatten(1, 2)).view(B, H * W, 3, msa.num_heads, -1)
    q, k, v = qkv.permute(2, 0, 3, 1, 4)
    if hasattr(msa, 'logit_scale'):
        q, k = (n / n.norm(dim=-1, keepdim=True) for n in (q, k))
        q = q * msa.logit_scale.clamp(max=math.log(100)).exp()
        table = 16 * msa.cpb_mlp(msa.relative_coords_table).view(-1, msa.num_heads).sigmoid()
    else:
        q, table = q * msa.scale, msa.relative_position_bias_table
    logits = q @ k.transpose(2, 3) + table[index].permute(2, 0, 1)
    seen = same & (visible.flatten(1)[:, None] | torch.eye(H * W, dtype=torch.bool))
    p = logits.masked_fill(~seen[:, None], -math.inf).softmax(-1)
    return msa.proj((p @ v).transpose(1, 2).reshape(B, H, W, C))


def reference(model, x, mask):
    """The last stage's visible tokens; masked ones are computed too, and seen by none."""
    x, size = model.patch_embed(x)
    for stage in model.stages:
        merging = stage.downsample
        if merging is not None and model.out_after_downsample:
            x, size = merging(x, size)
        visible = ~upsample_mask(mask, size)[:, 0]
        for block in stage.blocks:
            x = x.unflatten(1, size)
            if model.out_after_downsample:
                x = x + block.norm1(attention(block.attn, x, visible))
                x = x + block.norm2(block.ffn(x))
                x = block.norm3(x) if block.extra_norm else x
            else:
                x = x + attention(block.attn, block.norm1(x), visible)
                x = block.ffn(block.norm2(x), identity=x)
            x = x.flatten(1, 2)
        if merging is not None and not model.out_after_downsample:
            x, size = merging(x, size)
    return model.norm3(x).unflatten(1, size)[~mask].view(len(x), -1, x.shape[-1])


@pytest.mark.parametrize('window', [3, 6, 12])
@pytest.mark.parametrize(
    'cls, arch, tol', [(MaskedSwin, ARCH, 1e-9), (MaskedSwinV2, ARCH_V2, 2e-5)]
)
def test_features_and_gradients_are_those_of_the_definition(cls, arch, tol, window):
    """Blocks of 8 x 8 tokens and windows of 6 cut each other; every image has its own mask.

    Swin v2 computes its logits in float32.
    """
    model = cls(arch=arch, img_size=96, window_size=window, mask_mode='gather').double()
    scramble(model)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 3, 96, 96, generator=generator).double()
    mask = (torch.rand(3, 9, generator=generator).argsort(1).argsort(1) < 6).view(3, 3, 3)
    results = []
    for encode in (lambda: model(x, mask)[-1], lambda: reference(model, x, mask)):
        model.zero_grad()
        out = encode()
        (out * torch.linspace(-1, 1, out.numel()).view(out.shape)).sum().backward()
        results.append((out, {k: p.grad for k, p in model.named_parameters()}))
    (out, grads), (expected, expected_grads) = results
    assert_close(out, expected, rtol=tol, atol=tol)
    for name, grad in expected_grads.items():
        assert (grads[name] - grad).norm() <= 10 * tol * (1 + grad.norm()), name


def test_weights_go_to_the_plain_backbone_unchanged():
    gather = scramble(MaskedSwin(arch=ARCH, img_size=128, window_size=4, mask_mode='gather'))
    plain = MaskedSwin(arch=ARCH, img_size=128, window_size=4)
    assert plain.load_state_dict(gather.state_dict(), strict=False).missing_keys == ['mask_token']
    x = torch.randn(1, 3, 128, 128)
    assert_close(plain.eval()(x), gather.eval()(x), rtol=0, atol=0)


# where a graph ends, the compiler looks at the gradients of all that goes on
@pytest.mark.filterwarnings(r'ignore:The \.grad attribute of a Tensor')
def test_compiled_model_has_the_same_loss_and_gradients():
    data = dict(type='MIMDataPreprocessor', mean=[120.0] * 3, std=[60.0] * 3)
    backbone = dict(type='MaskedSwin', arch=ARCH, img_size=64, window_size=4, mask_mode='gather')
    decoder = dict(decoder_embed_dim=16, decoder_depth=1, decoder_num_heads=2)
    head = dict(type='PixelHead', loss=dict(type='MaskedPixelLoss'))
    x = torch.randn(2, 3, 64, 64)
    samples = [DataSample(mask=torch.tensor([[a, 1], [1, 1 - a]]).bool()) for a in (0, 1)]
    results = []
    for compiled in (False, dict(backend='aot_eager')):
        neck = dict(type='TransformerDecoder', **decoder)
        model = scramble(MaskedImageModel(backbone, neck, head, data, compile=compiled)).train()
        loss = model.loss(x, samples)['loss']
        loss.backward()
        results.append((loss, {k: p.grad for k, p in model.named_parameters()}))
    assert_close(results[1], results[0])


# ---- layout ----


def test_quadrants_follow_each_other():
    rows, cols = z_order(4)
    assert rows.tolist() == [0, 0, 1, 1] * 2 + [2, 2, 3, 3] * 2
    assert cols.tolist() == [0, 1, 0, 1, 2, 3, 2, 3] * 2
    assert sorted(zip(*z_order(8))) == [(r, c) for r in range(8) for c in range(8)]


@pytest.mark.parametrize('seed', range(5))
def test_windows_are_packed_whole_and_densely(seed):
    counts = np.random.default_rng(seed).integers(1, 37, 200 * (seed > 0) + 1)
    given = copy.deepcopy(counts)
    first, length = pack(counts)
    assert (counts == given).all() and length == counts.max()
    taken = np.concatenate([np.arange(a, a + n) for a, n in zip(first, counts)])
    assert len(set(taken)) == counts.sum(), 'two windows share a slot'
    assert (first // length == (first + counts - 1) // length).all(), 'a window is in two groups'
    n_groups = taken.max() // length + 1
    assert n_groups <= 1.05 * counts.sum() / length + 2


# ---- what is refused ----


@pytest.mark.parametrize(
    'arguments, message',
    [
        (dict(mask_mode='drop'), r"'gather', got 'drop'"),
        (dict(patch_cfg=dict(kernel_size=7, padding=3)), 'patch_cfg'),
        (dict(stage_cfgs=dict(downsample_cfg=dict(dilation=2))), 'downsample_cfg'),
    ],
)
def test_overlapping_patches_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        MaskedSwin(**{**dict(arch=ARCH, img_size=64, mask_mode='gather'), **arguments})


@pytest.mark.parametrize(
    'window, size, masked, message',
    [
        (7, 64, [1, 1], r'16x16 tokens is not whole windows of 7'),
        (4, 80, [1, 1], r'80x80 pixels are not whole blocks of 32'),
        (4, 64, [1, 2], r'same number.*\[3, 2\]'),
        (4, 64, [4, 4], r'nothing is visible'),
    ],
)
def test_images_and_masks_that_do_not_fit_are_refused(window, size, masked, message):
    model = MaskedSwin(arch=ARCH, img_size=64, window_size=window, mask_mode='gather')
    side = -(-size // 32)
    mask = torch.stack([torch.arange(side**2).view(side, side) < n for n in masked])
    with pytest.raises(ValueError, match=message):
        model(torch.randn(2, 3, size, size), mask)
