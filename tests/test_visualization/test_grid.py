import numpy as np
import pytest
import torch

from simmim_mm.models.target_generators import LowFreq, NormPix
from simmim_mm.visualization.grid import (
    GRAY,
    GUTTER,
    STRIPE,
    choose_channels,
    compose,
    display_range,
    draw_grid,
    hatch,
    shrink,
    target_note,
    to_rgb,
)

CAPTION_LINE = 22


def pictures(channels: int = 3, height: int = 8, width: int = 16, batch: int = 2) -> dict:
    generator = torch.Generator().manual_seed(0)
    original = torch.randint(0, 256, (batch, channels, height, width), generator=generator).float()
    original[..., 0, :2] = torch.tensor([0.0, 255.0])
    mask = torch.zeros(batch, 1, height, width, dtype=torch.bool)
    mask[..., : width // 2] = True
    return dict(
        original=original,
        masked=torch.where(mask, 100.0, original),
        reconstruction=torch.where(mask, 300.0, original),
        target=original.clone(),
        mask=mask,
    )


def cells(image, rows: int, columns: int, height: int, width: int) -> np.ndarray:
    """The pictures in a grid, ``(rows, columns, height, width, 3)``, read where they must be."""
    pixels = np.asarray(image)
    starts = [
        (CAPTION_LINE + i * (height + GUTTER), GUTTER + j * (width + GUTTER))
        for i in range(rows)
        for j in range(columns)
    ]
    found = [pixels[y : y + height, x : x + width] for y, x in starts]
    return np.stack(found).reshape(rows, columns, height, width, 3)


def test_columns_hold_the_pixels_enlarged_by_a_whole_factor():
    given = pictures()
    image = draw_grid(given, fill='mean', min_size=160)  # 16 pixels wide: factor 10
    found = cells(image, 2, 3, 80, 160)[:, :, ::10, ::10]
    expected = given['original'].permute(0, 2, 3, 1).numpy().astype(np.uint8)
    np.testing.assert_array_equal(found[:, 0], expected)
    hidden = given['mask'][:, 0].numpy()
    np.testing.assert_array_equal(found[:, 1], np.where(hidden[..., None], 100, expected))
    # 300 is clipped to white, not wrapped round to 44.
    np.testing.assert_array_equal(found[:, 2], np.where(hidden[..., None], 255, expected))


def test_hatch_is_drawn_on_hidden_pixels_only():
    image = np.full((12, 12, 3), 7, np.uint8)
    mask = np.zeros((12, 12), bool)
    mask[4:, :6] = True
    drawn = hatch(image, mask)
    assert set(np.unique(drawn[mask])) == {GRAY, STRIPE}
    assert (drawn[~mask] == 7).all()


def test_target_is_shown_where_it_is_not_the_image():
    given = pictures()
    three = draw_grid(given)
    given['target'] = given['original'].roll(1, dims=-1)
    assert draw_grid(given).width == three.width + 160 + GUTTER
    del given['target']
    assert draw_grid(given).width == three.width


@pytest.mark.parametrize(
    ('number', 'channels'), [(1, (0,)), (2, (0,)), (3, (0, 1, 2)), (5, (0, 1, 2))]
)
def test_any_number_of_channels_can_be_shown(number, channels):
    assert choose_channels(number) == channels
    image = draw_grid(pictures(number), fill='mean')
    first = cells(image, 2, 3, 80, 160)[0, 0]
    assert (len(np.unique(first, axis=-1)) > 0) and (first[..., 0] == first[..., 1]).all() == (
        len(channels) == 1
    )


def test_chosen_channels_are_shown_in_the_order_given():
    image = np.stack([np.full((2, 2), v) for v in (0.0, 50.0, 100.0, 150.0)])
    limits = (np.zeros((4, 1, 1)), np.full((4, 1, 1), 255.0))
    assert to_rgb(image, limits, channels=(3, 0, 1))[0, 0].tolist() == [150, 0, 50]
    assert to_rgb(image, limits, channels=(2,))[0, 0].tolist() == [100, 100, 100]


@pytest.mark.parametrize('channels', [(0, 1), (0, 1, 5), (-1,)])
def test_wrong_channels_are_named(channels):
    with pytest.raises(ValueError, match='channel'):
        choose_channels(5, channels)


def test_8_bit_images_keep_their_brightness():
    dark = np.random.RandomState(0).uniform(0, 20, (3, 8, 8)).round()
    low, high = display_range(dark)
    assert (low == 0).all() and (high == 255).all()


@pytest.mark.parametrize('scale', [1e-3, 1.0, 6e4])
def test_other_ranges_are_stretched_in_spite_of_outliers(scale):
    band = np.linspace(0, scale, 10_000).reshape(1, 100, 100)
    image = np.concatenate([band, 10 * band - scale, band, -band])
    image[:, 0, 0] = 1e9  # a dead pixel
    shown = to_rgb(image, display_range(image), channels=(0, 1, 3))
    assert shown.min() == 0 and shown.max() == 255
    assert np.abs(shown[50, 50].astype(int) - 127).max() < 8


def test_constant_and_nan_images_are_drawn():
    flat = np.full((5, 4, 4), 3.0)
    assert to_rgb(flat, display_range(flat)).shape == (4, 4, 3)
    limits = display_range(flat)
    flat[0, 0, 0] = np.nan
    assert to_rgb(flat, limits)[0, 0, 0] == 0


def test_reconstruction_has_the_brightness_of_its_original():
    """Stretched by its own range, a faint reconstruction would look perfect."""
    given = pictures(channels=5)
    given['original'] = given['original'] * 100
    given['reconstruction'] = given['original'] * 0.1
    found = cells(draw_grid(given, fill='mean'), 2, 3, 80, 160)
    assert found[:, 2].mean() < 0.3 * found[:, 0].mean()


def test_rows_of_different_sizes_do_not_overlap():
    rows = [
        [np.full((h, w, 3), v, np.uint8) for w, v in ((w1, 10), (w2, 90))]
        for h, w1, w2 in ((20, 200, 150), (50, 150, 200))
    ]
    pixels = np.asarray(compose(rows, ['a', 'b'], 'a note ' * 30))
    for value, area in ((10, 20 * 200 + 50 * 150), (90, 20 * 150 + 50 * 200)):
        assert (pixels == value).all(-1).sum() == area


def test_large_pictures_shrink_and_small_ones_stay():
    image = np.zeros((30, 60, 3), np.uint8)
    assert shrink(image, 20).shape == (10, 20, 3)
    assert shrink(image, 60) is image


def test_unknown_fill_is_named():
    with pytest.raises(ValueError, match='checker'):
        draw_grid(pictures(), fill='checker')


def test_the_note_says_what_was_predicted_and_where_statistics_come_from():
    low, norm = LowFreq(radius=4), NormPix(patch_size=8)
    assert target_note([], 'true') == ''
    assert target_note([low], 'true') == 'Target: LowFreq.'
    note = 'Target: NormPix of LowFreq; its normalization is undone with the statistics of '
    assert target_note([low, norm], 'true') == note + 'the whole image.'
    assert target_note([low, norm], 'visible') == note + 'its visible part only.'
