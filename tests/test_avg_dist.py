import numpy as np
import pytest
import torch

from simmim_mm.datasets.transforms import BlockWiseMask, RandomBlockMask, SquareMask
from simmim_mm.evaluation.mask_difficulty import on_tokens
from simmim_mm.masking import avg_dist


def mean_over_draws(generator, draws=1000, size=192):
    np.random.seed(0)
    results = dict(img=np.empty((size, size, 0)))
    masks = (on_tokens(generator(results)['mask'], (size, size), 4) for _ in range(draws))
    return np.mean([avg_dist(mask, 4) for mask in masks])


@pytest.mark.parametrize('seed', range(5))
def test_is_the_mean_distance_to_the_nearest_visible_token(seed):
    rng = np.random.default_rng(seed)
    mask = rng.random((9, 14)) < 0.85
    visible, masked = np.argwhere(~mask), np.argwhere(mask)
    nearest = np.linalg.norm(masked[:, None] - visible[None], axis=-1).min(1)
    assert avg_dist(mask, 4) == pytest.approx(4 * nearest.mean(), rel=1e-6)
    assert avg_dist(torch.from_numpy(mask)) == pytest.approx(nearest.mean(), rel=1e-6)
    assert avg_dist(mask.T[::-1]) == pytest.approx(nearest.mean(), rel=1e-6)


def test_images_of_a_batch_count_alike():
    masks = np.zeros((2, 5, 5), bool)
    masks[0, 2, 2] = True  # 1
    masks[1, :, :3] = True  # (1 + 2 + 3) / 3
    assert avg_dist(masks, 16) == 16 * 1.5


# SimMIM's sets at 192 pixels with Swin's tokens of four, as computed beforehand and independently.
@pytest.mark.parametrize(
    ('ratio', 'expected'),
    zip(np.arange(1, 10) / 10, [9.3, 10.2, 11.2, 12.7, 14.1, 16.8, 21.5, 28.0, 48.5]),
)
def test_random_blocks_of_32_pixels(ratio, expected):
    assert mean_over_draws(RandomBlockMask(32, ratio)) == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize(
    ('generator', 'expected'),
    [
        (RandomBlockMask(4, 0.4), 4.1),
        # one and two of nine blocks, at any place: 18.64 and 21.0 exactly
        (RandomBlockMask(64, 0.1), 18.2),
        (RandomBlockMask(64, 0.2), 21.3),
        # 2 x 2, 3 x 3 and 4 x 4 blocks of 32 pixels, at any place on their grid
        (SquareMask(32, 0.11), 16.0),
        (SquareMask(32, 0.25), 23.7),
        (SquareMask(32, 0.44), 35.6),
    ],
    ids=repr,
)
def test_other_sets_of_the_paper(generator, expected):
    draws = 200 if generator.mask_patch_size == 4 else 6000
    assert mean_over_draws(generator, draws) == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize(
    ('size', 'ratio', 'read'),
    [
        (32, 0.4, 22.3),
        (32, 0.6, 31.7),
        (32, 0.8, 45),
        (16, 0.4, 18.6),
        (16, 0.6, 25),
        (16, 0.8, 36),
    ],
)
def test_block_wise_is_near_what_the_papers_figure_shows(size, ratio, read):
    assert mean_over_draws(BlockWiseMask(size, ratio), 600) == pytest.approx(read, rel=0.12)


@pytest.mark.parametrize(('value', 'message'), [(0, 'no masked token'), (1, 'no visible token')])
def test_masks_without_a_distance_are_refused(value, message):
    masks = np.zeros((2, 4, 6), bool)
    masks[0, 0, 0] = True
    masks[1] = value
    with pytest.raises(ValueError, match=f'4 x 6 tokens has {message}'):
        avg_dist(masks)
