import numpy as np
import pytest
import torch
from mmpretrain.datasets.transforms import SimMIMMaskGenerator

from simmim_mm.datasets.transforms import RandomBlockMask
from simmim_mm.masking import fit_mask


def draw(height=192, width=192, **kwargs):
    image = np.empty((height, width, 3), dtype=np.uint8)
    return RandomBlockMask(**kwargs)(dict(img=image))['mask']


def test_equals_the_authors_generator_for_the_same_random_numbers():
    for size, ratio in [(32, 0.6), (16, 0.55), (64, 0.1)]:
        reference = SimMIMMaskGenerator(192, mask_patch_size=size, mask_ratio=ratio)
        np.random.seed(3)
        expected = reference({})['mask']
        np.random.seed(3)
        mask = draw(mask_patch_size=size, mask_ratio=ratio)
        assert mask.dtype == bool
        tokens = fit_mask(torch.from_numpy(mask)[None], 1, (48, 48), stride=4)[0]
        np.testing.assert_array_equal(tokens, expected)


@pytest.mark.parametrize('ratio', [0.1, 0.35, 0.5, 0.55, 0.6, 0.75, 0.9])
@pytest.mark.parametrize('shape', [(192, 192), (96, 160), (32, 512)])
def test_the_number_of_masked_blocks_is_the_authors(shape, ratio):
    n = shape[0] // 32 * (shape[1] // 32)
    kwargs = dict(mask_ratio=ratio)
    assert draw(*shape, **kwargs).sum() == int(np.ceil(n * ratio))  # SimMIM
    kept = int(n * (1 - ratio))  # MAE's len_keep
    assert draw(*shape, **kwargs, rounding='floor_visible').sum() == n - kept


def test_the_two_roundings_differ_only_by_floating_point():
    ceil = RandomBlockMask(mask_ratio=0.14)
    floor = RandomBlockMask(mask_ratio=0.14, rounding='floor_visible')
    # 0.14 * 50 is 7.000000000000001 in floating point, and 50 * 0.86 is 43.
    assert (ceil.num_masked(50), floor.num_masked(50)) == (8, 7)
    ratios = np.random.default_rng(0).uniform(0.05, 0.95, 200)  # none is a multiple of 1 / n
    for ratio in ratios:
        ceil.mask_ratio = floor.mask_ratio = ratio
        assert all(ceil.num_masked(n) == floor.num_masked(n) for n in range(2, 300))


@pytest.mark.parametrize('stride', [4, 8, 16])
def test_whole_blocks_are_masked_on_the_token_grid(stride):
    drawn = draw(96, 160, mask_patch_size=32)
    assert drawn.shape == (3, 5) and drawn.sum() == 9  # ceil(15 * 0.6)
    grid, k = (96 // stride, 160 // stride), 32 // stride
    mask = fit_mask(torch.from_numpy(drawn)[None], 1, grid, stride)[0].numpy()
    assert mask.shape == grid
    blocks = mask.reshape(3, k, 5, k)
    assert (blocks == drawn[:, None, :, None]).all()


def test_every_block_is_masked_equally_often():
    np.random.seed(0)
    num_draws, n, k = 4000, 15, 9
    counts = sum(draw(96, 160).astype(int) for _ in range(num_draws)).ravel()
    p = k / n
    # Chi-square for sampling without replacement has n - 1 = 14 degrees of freedom; 99.99%: 42.6.
    chi_square = ((counts - num_draws * p) ** 2).sum() / (num_draws * p * (1 - p)) * (n - 1) / n
    assert chi_square < 42.6


def test_all_arrangements_occur():
    np.random.seed(0)
    seen = {draw(64, 64, mask_ratio=0.5).tobytes() for _ in range(200)}
    assert len(seen) == 6  # 2 of 4 blocks


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(mask_patch_size=0), 'mask_patch_size.*0'),
        (dict(mask_patch_size=32.0), 'mask_patch_size.*32.0'),
        (dict(mask_ratio=0.0), 'mask_ratio.*got 0.0'),
        (dict(mask_ratio=1), 'mask_ratio.*got 1'),
        (dict(rounding='round'), 'round'),
    ],
)
def test_wrong_arguments_fail_at_construction(kwargs, message):
    with pytest.raises(ValueError, match=message):
        RandomBlockMask(**kwargs)


def test_a_block_that_does_not_divide_the_image_names_those_which_would():
    with pytest.raises(ValueError, match=r'mask_patch_size=32 .* 96 x 200 .*\(2, 4, 8\)'):
        draw(96, 200)
    with pytest.raises(ValueError, match=r'mask_patch_size=32 .* 97 x 101 .*change the crop size'):
        draw(97, 101)


@pytest.mark.parametrize('rounding', ['ceil_masked', 'floor_visible'])
def test_a_mask_that_leaves_nothing_visible_is_refused(rounding):
    with pytest.raises(ValueError, match=r'mask_ratio=0\.6 masks all 1 blocks of 32'):
        draw(32, 32, rounding=rounding)
