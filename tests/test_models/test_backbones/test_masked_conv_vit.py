import numpy as np
import pytest
import torch

from simmim_mm.masking import upsample_mask, visible_ids
from simmim_mm.models.backbones import MaskedConvViT
from simmim_mm.models.backbones.position import sincos_position_embedding

ARCH = dict(embed_dims=(8, 12, 24), depths=(2, 1, 2), num_heads=3, mlp_ratios=(4, 2, 4))


def random_mask(batch_size, grid, n_visible):
    mask = torch.ones(batch_size, grid[0] * grid[1], dtype=torch.bool)
    for row in mask:
        row[torch.randperm(len(row))[:n_visible]] = False
    return mask.view(batch_size, *grid)


def norm(layer, x):
    return layer(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def dense_reference(model, x, mask):
    """The paper's formulation: stages 1 and 2 on all positions, zeros before each 5x5."""
    maps = []
    visible = ~mask
    stages = ((model.patch_embed1, model.blocks1), (model.patch_embed2, model.blocks2))
    for embed, blocks in stages:
        x = torch.nn.functional.gelu(norm(embed.norm, embed.proj(x)))
        keep = upsample_mask(visible, x.shape[-2:])
        for block in blocks:
            x = x + block.conv2(block.attn(keep * block.conv1(norm(block.norm1, x))))
            x = x + block.mlp(norm(block.norm2, x))
        maps.append(x)
    to_tokens = lambda t: t.flatten(2).transpose(1, 2)  # noqa: E731
    x = model.patch_embed4(to_tokens(model.patch_embed3(x))) + model.pos_embed
    fused = to_tokens(model.stage1_output_decode(maps[0])) + to_tokens(
        model.stage2_output_decode(maps[1])
    )
    rows = torch.arange(len(x))[:, None], visible_ids(mask)
    x, fused = x[rows], fused[rows]
    for block in model.blocks3:
        x = block(x)
    return model.norm(x + fused)


@pytest.fixture
def model():
    torch.manual_seed(0)
    model = MaskedConvViT(ARCH, img_size=(64, 96))
    model.init_weights()
    return model


def test_equals_the_dense_formulation_with_gradients(model):
    model.double()
    x = torch.randn(3, 3, 64, 96, dtype=torch.float64)
    mask = random_mask(3, (4, 6), 7)
    weight = torch.randn(3, 7, 24, dtype=torch.float64)
    grads = []
    for forward in (lambda: model(x, mask)[0], lambda: dense_reference(model, x, mask)):
        model.zero_grad()
        out = forward()
        (out * weight).sum().backward()
        grads.append([out.detach()] + [p.grad for p in model.parameters() if p.requires_grad])
    for native, reference in zip(*grads):
        torch.testing.assert_close(native, reference, rtol=1e-9, atol=1e-9)


def test_maps_and_tokens_are_what_it_says():
    model = MaskedConvViT(ARCH, img_size=(64, 96), out_indices=(0, 1, 2)).eval()
    maps = model(torch.randn(1, 3, 64, 96))
    assert model.mask_mode == 'gather' and not model.with_cls_token
    assert model.out_channels == tuple(feat.shape[1] for feat in maps) == (8, 12, 24)
    assert model.out_strides == tuple(64 // feat.shape[2] for feat in maps) == (4, 8, 16)
    assert model.token_grid(64, 96) == (4, 6) and model.img_size == (64, 96)
    assert model.train() is model
    assert model.get_parameter(model.stem_weight).shape[1] == 3


def test_masks_of_blocks_are_masks_of_their_tokens(model):
    x, blocks = torch.randn(2, 3, 64, 96), random_mask(2, (2, 3), 2)
    tokens = blocks.repeat_interleave(2, 1).repeat_interleave(2, 2)
    torch.testing.assert_close(model.eval()(x, blocks), model(x, tokens), rtol=0, atol=0)


def test_masked_pixels_do_not_reach_the_output(model):
    x = torch.randn(2, 3, 64, 96)
    mask = random_mask(2, (4, 6), 6)
    other = torch.where(upsample_mask(mask, (64, 96)), torch.randn_like(x) * 100, x)
    assert torch.equal(model(x, mask)[0], model(other, mask)[0])
    assert not torch.equal(model(x, mask)[0], model(x + 0.1, mask)[0])


def test_whole_images_give_multi_scale_maps():
    torch.manual_seed(0)
    model = MaskedConvViT(ARCH, img_size=64, in_channels=5, out_indices=(0, 1, 2), fusion=False)
    maps = model(torch.randn(2, 5, 96, 64))
    assert [tuple(m.shape) for m in maps] == [(2, 8, 24, 16), (2, 12, 12, 8), (2, 24, 6, 4)]
    assert all(torch.isfinite(m).all() for m in maps)


def test_drop_path_drops_whole_images():
    torch.manual_seed(0)
    arch = dict(ARCH, depths=(2, 0, 0))
    model = MaskedConvViT(arch, img_size=64, drop_path_rate=0.5, out_indices=(0,)).train()
    model.blocks1[0].drop_path.drop_prob = model.blocks1[1].drop_path.drop_prob = 0.5
    x = torch.randn(1, 3, 64, 64).expand(64, -1, -1, -1)
    out = model(x)[0]
    # 2 blocks of 2 paths each, kept or dropped for the image as a whole: at most 16 outcomes
    assert 2 <= len({tuple(o.flatten()[:50].tolist()) for o in out.round(decimals=3)}) <= 16


def test_clear_errors(model):
    uneven = random_mask(2, (4, 6), 6)
    uneven[0, 0, 0] = ~uneven[0, 0, 0]
    with pytest.raises(ValueError, match=r'\[(5|7), 6\]'):
        model(torch.randn(2, 3, 64, 96), uneven)
    with pytest.raises(ValueError, match='multiples of 16, got 60x96'):
        model(torch.randn(2, 3, 60, 96))
    with pytest.raises(ValueError, match='4x6 token grid'):
        model(torch.randn(2, 3, 64, 96), random_mask(2, (6, 4), 6))


def test_position_embedding_formula():
    """MAE's get_2d_sincos_pos_embed, written out for one token."""
    embedding = sincos_position_embedding((3, 5), 16, num_extra_tokens=1)
    row, col = 2, 3
    omega = 1 / 10000 ** (np.arange(4) / 4)
    expected = np.concatenate(
        [np.sin(col * omega), np.cos(col * omega), np.sin(row * omega), np.cos(row * omega)]
    )
    np.testing.assert_allclose(embedding[0, 1 + row * 5 + col], expected, rtol=1e-6)
    assert (embedding[0, 0] == 0).all()
