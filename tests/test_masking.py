"""Properties of the pure functions on masks and patches, on random sizes."""

import pytest
import torch
import torch.nn.functional as F

from simmim_mm.masking import (
    fit_mask,
    patchify,
    replace_masked,
    unpatchify,
    upsample_mask,
    visible_ids,
)

SEEDS = range(8)


def random_ints(seed, *bounds):
    generator = torch.Generator().manual_seed(seed)
    return [int(torch.randint(low, high, (), generator=generator)) for low, high in bounds]


@pytest.mark.parametrize('seed', SEEDS)
def test_upsampling_is_repetition(seed):
    B, h, w, fh, fw = random_ints(seed, (1, 4), (1, 9), (1, 9), (1, 7), (1, 7))
    mask = torch.rand(B, h, w, generator=torch.Generator().manual_seed(seed)) < 0.5
    up = upsample_mask(mask, (h * fh, w * fw))
    assert up.dtype == torch.bool
    assert torch.equal(up, F.interpolate(mask[:, None].float(), (h * fh, w * fw)).bool())
    assert torch.equal(up[:, 0, ::fh, ::fw], mask)
    # In two steps or in one.
    assert torch.equal(upsample_mask(up[:, 0], (2 * h * fh, 3 * w * fw))[:, :, ::2, ::3], up)


@pytest.mark.parametrize('size', [(15, 20), (16, 19)])
def test_upsampling_refuses_sizes_that_the_grid_does_not_tile(size):
    with pytest.raises(ValueError, match=f'4x5 token grid does not tile {size[0]}x{size[1]}'):
        upsample_mask(torch.zeros(1, 4, 5, dtype=torch.bool), size)


@pytest.mark.parametrize('seed', SEEDS)
def test_a_mask_of_blocks_is_repeated_on_the_tokens(seed):
    B, rows, cols, factor = random_ints(seed, (1, 4), (1, 7), (1, 7), (1, 9))
    mask = torch.rand(B, rows, cols, generator=torch.Generator().manual_seed(seed)) < 0.5
    grid = rows * factor, cols * factor
    tokens = fit_mask(mask, B, grid, stride=4)
    assert tokens.dtype == torch.bool
    assert torch.equal(tokens, upsample_mask(mask, grid)[:, 0])
    assert torch.equal(fit_mask(tokens, B, grid, stride=4), tokens)
    # the pixels that are masked do not depend on the grid
    size = 4 * grid[0], 4 * grid[1]
    assert torch.equal(upsample_mask(tokens, size), upsample_mask(mask, size))


@pytest.mark.parametrize(
    ('mask', 'grid', 'stride', 'message'),
    [
        # images of 60, 192, 192 and 96 x 160 pixels
        ((2, 2, 2), (15, 15), 4, 'blocks of 30 pixels .* multiple of 4, such as 28'),
        ((2, 96, 96), (48, 48), 4, 'blocks of 2 pixels are not whole tokens.* such as 4,'),
        ((2, 48, 48), (12, 12), 16, 'blocks of 4 pixels .* multiple of 16, such as 16'),
        ((2, 3, 3), (24, 40), 4, 'mask of 3x3 does not fit a 24x40 token grid .* not be square'),
        ((2, 5, 3), (24, 40), 4, 'mask of 5x3 .*after the last crop'),
        ((3, 6, 6), (48, 48), 4, r'mask is \(3, 6, 6\) but the batch has 2 images'),
        ((6, 6), (48, 48), 4, r'mask is \(6, 6\) but the batch has 2 images'),
    ],
)
def test_masks_that_do_not_fit_name_both_numbers(mask, grid, stride, message):
    with pytest.raises(ValueError, match=message):
        fit_mask(torch.zeros(mask, dtype=torch.bool), 2, grid, stride)


@pytest.mark.parametrize('shape', [(2, 12, 5), (2, 12, 3, 7, 5), (2, 5, 3, 4)])
def test_the_mask_token_stands_at_masked_places_only(shape):
    x, mask, token = torch.randn(shape), torch.rand(2, 3, 4) < 0.5, torch.randn(1, 1, 5)
    x[0].view(-1)[0] = float('nan')
    mask[0, 0, 0] = True
    replaced = replace_masked(x, mask, token)
    # channels last, a token a row
    if len(shape) == 4:
        x, replaced = (t.flatten(2).transpose(1, 2) for t in (x, replaced))
    for i, j in mask.flatten(1).nonzero().tolist():
        assert torch.equal(replaced[i, j], token[0, 0].expand_as(replaced[i, j]))
    visible = ~mask.flatten(1)
    assert torch.equal(replaced[visible], x[visible])


@pytest.mark.parametrize('seed', SEEDS)
def test_visible_ids_list_the_visible_tokens_in_raster_order(seed):
    B, h, w = random_ints(seed, (1, 5), (1, 9), (1, 9))
    generator = torch.Generator().manual_seed(seed)
    count = int(torch.randint(0, h * w + 1, (), generator=generator))
    order = torch.stack([torch.randperm(h * w, generator=generator) for _ in range(B)])
    mask = torch.ones(B, h * w, dtype=torch.bool).scatter_(1, order[:, :count], False).view(B, h, w)
    ids = visible_ids(mask)
    assert torch.equal(ids, order[:, :count].sort(1).values)
    # Gathering and putting back restores what is visible.
    x = torch.rand(B, h * w, 2)
    gathered = x.gather(1, ids[..., None].expand(-1, -1, 2))
    restored = torch.zeros_like(x).scatter_(1, ids[..., None].expand(-1, -1, 2), gathered)
    torch.testing.assert_close(restored, x * ~mask.flatten(1)[..., None])


def test_unequal_counts_are_named():
    mask = torch.zeros(3, 2, 3, dtype=torch.bool)
    mask[0, 0, 0] = mask[1, 1, 1] = mask[2, 0, :2] = True
    with pytest.raises(ValueError, match=r'\[5, 5, 4\]'):
        visible_ids(mask)


@pytest.mark.parametrize('seed', SEEDS)
def test_patches_go_there_and_back(seed):
    B, C, h, w, p = random_ints(seed, (1, 4), (1, 6), (1, 6), (1, 6), (1, 9))
    x = torch.rand(B, C, h * p, w * p)
    patches = patchify(x, p)
    assert patches.shape == (B, h, w, p * p * C)
    assert torch.equal(unpatchify(patches, p), x)
    # A patch holds its pixels in the order row, column, channel.
    i, j, row, col, channel = random_ints(seed + 99, (0, h), (0, w), (0, p), (0, p), (0, C))
    value = patches[:, i, j, (row * p + col) * C + channel]
    assert torch.equal(value, x[:, channel, i * p + row, j * p + col])


def test_patchify_agrees_with_a_convolution():
    torch.manual_seed(0)
    x, weight = torch.rand(2, 3, 16, 24), torch.rand(5, 3, 8, 8)
    expected = F.conv2d(x, weight, stride=8).permute(0, 2, 3, 1)
    flat = weight.permute(0, 2, 3, 1).flatten(1)
    torch.testing.assert_close(patchify(x, 8) @ flat.T, expected)


def test_patchify_takes_images_in_any_memory_layout():
    x = torch.rand(2, 3, 16, 24)
    for y in (x.to(memory_format=torch.channels_last), x.transpose(2, 3), x[..., ::2, ::2]):
        assert torch.equal(unpatchify(patchify(y, 4), 4), y)


def test_patchify_refuses_parts_of_patches():
    with pytest.raises(ValueError, match='16x20 pixels are not whole 8-pixel patches'):
        patchify(torch.zeros(1, 3, 16, 20), 8)
