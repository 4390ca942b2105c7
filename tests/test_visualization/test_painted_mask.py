import numpy as np
import pytest
from PIL import Image

from simmim_mm.visualization.painted_mask import load_painted_mask, mask_tokens, window_around


def _paint(height=40, width=60) -> np.ndarray:
    hole = np.zeros((height, width), bool)
    hole[10:20, 30:50] = True
    return hole


def _save(path, hole, color, mode):
    rgb = np.where(hole[..., None], np.array(color, np.uint8), 0).astype(np.uint8)
    image = Image.fromarray(rgb)
    if mode == 'alpha':
        image.putalpha(Image.fromarray((hole * 255).astype(np.uint8)))
        path = path.with_suffix('.png')
    elif mode == 'jpeg':
        path = path.with_suffix('.jpg')
    elif mode == '1':
        image, path = image.convert('1', dither=Image.Dither.NONE), path.with_suffix('.png')
    else:
        image, path = image.convert(mode), path.with_suffix('.png')
    image.save(path)
    return path


@pytest.mark.parametrize(
    ('color', 'mode'),
    [
        ((255, 255, 255), 'RGB'),
        ((255, 255, 255), 'L'),
        ((255, 255, 255), '1'),
        ((200, 0, 0), 'RGB'),
        ((0, 0, 0), 'alpha'),  # black paint on a transparent layer
        ((255, 255, 255), 'RGBA'),  # opaque everywhere
    ],
)
def test_hole_is_what_was_painted(tmp_path, color, mode):
    hole = _paint()
    path = _save(tmp_path / 'mask', hole, color, mode)
    np.testing.assert_array_equal(load_painted_mask(path, (40, 60)), hole)


def test_jpeg_noise_is_not_paint(tmp_path):
    path = _save(tmp_path / 'mask', _paint(), (255, 255, 255), 'jpeg')
    found = load_painted_mask(path, (40, 60))
    assert not found[:, :16].any() and found[12:18, 33:47].all()


def test_mask_of_another_size_lies_over_the_image(tmp_path):
    path = _save(tmp_path / 'mask', _paint(), (255, 255, 255), 'L')
    expected = _paint().repeat(3, 0).repeat(3, 1)
    np.testing.assert_array_equal(load_painted_mask(path, (120, 180)), expected)


def test_errors_name_the_file(tmp_path):
    with pytest.raises(FileNotFoundError, match='gone'):
        load_painted_mask(tmp_path / 'gone.png', (4, 4))
    (tmp_path / 'text.png').write_text('not an image')
    with pytest.raises(ValueError, match=r'text\.png is not a readable image'):
        load_painted_mask(tmp_path / 'text.png', (4, 4))
    black = _save(tmp_path / 'black', np.zeros((8, 8), bool), (255, 255, 255), 'L')
    with pytest.raises(ValueError, match='paint the hole white'):
        load_painted_mask(black, (8, 8))


def test_a_single_pixel_masks_its_token():
    hole = np.zeros((50, 70), bool)  # not a multiple of the grid
    hole[24, 69] = True
    tokens = mask_tokens(hole, (5, 7))
    assert tokens.nonzero().tolist() == [[2, 6]]


@pytest.mark.parametrize('seed', range(20))
def test_window_holds_the_hole_and_lies_in_the_image(seed):
    rng = np.random.RandomState(seed)
    height, width = rng.randint(30, 400, 2)
    hole = np.zeros((height, width), bool)
    y, x = rng.randint(0, height), rng.randint(0, width)
    hole[y : y + rng.randint(1, 200), x : x + rng.randint(1, 200)] = True
    size = (32, rng.choice([32, 48]))
    top, left, tall, wide = window_around(hole, size)
    assert top >= 0 and left >= 0 and top + tall <= height and left + wide <= width
    assert hole[top : top + tall, left : left + wide].sum() == hole.sum()
    if (tall, wide) != (height, width):  # undistorted, up to a pixel
        assert abs(wide / tall - size[1] / size[0]) < 0.08


def test_small_hole_is_looked_at_closely():
    hole = np.zeros((1000, 1000), bool)
    hole[500:540, 100:130] = True
    assert window_around(hole, (32, 32)) == (460, 55, 120, 120)
    hole[:] = False
    hole[3, 3] = True
    assert window_around(hole, (32, 32)) == (0, 0, 32, 32)  # not enlarged beyond the pixels
