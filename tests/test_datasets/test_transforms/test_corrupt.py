"""Corruptions against the formulas of ImageNet-C, and the same for an image whoever loads it."""

import sys
from collections.abc import Sequence

import numpy as np
import pytest
from imagecorruptions import corruptions, get_corruption_names
from torch.utils.data import DataLoader

from simmim_mm.datasets.errors import DataError
from simmim_mm.datasets.transforms.corrupt import (
    COMMON_CORRUPTIONS,
    CORRUPTIONS,
    Corrupt,
    parse_corruptions,
)

FAST = [name for name in CORRUPTIONS if name != 'glass_blur']  # numba takes seconds to compile it


def pictures(number: int = 1, size: tuple[int, int] = (40, 48)) -> list[np.ndarray]:
    """Smooth color gradients with noise, uint8 ``(H, W, 3)``."""
    rng = np.random.default_rng(number)
    y, x = np.mgrid[: size[0], : size[1]] / max(size)
    images = []
    for _ in range(number):
        waves = [np.sin(7 * x * a + 5 * y * b) for a, b in rng.uniform(-1, 1, (3, 2))]
        image = 120 + 60 * np.stack(waves, -1) + rng.normal(0, 10, (*size, 3))
        images.append(image.clip(0, 255).astype(np.uint8))
    return images


def apply(image: np.ndarray, name: str, severity: int = 3, **kwargs) -> np.ndarray:
    return Corrupt(name, severity, **kwargs)(dict(img=image.copy()))['img']


@pytest.mark.parametrize('severity', [1, 2, 3, 4, 5])
def test_contrast_and_brightness_equal_their_formulas(severity):
    """Appendix of arXiv 1903.12261, and the code that made ImageNet-C."""
    (image,) = pictures()
    x = image.astype(np.float64) / 255

    keep = [0.4, 0.3, 0.2, 0.1, 0.05][severity - 1]
    mean = x.mean((0, 1))
    expected = ((x - mean) * keep + mean).clip(0, 1) * 255
    difference = expected - apply(image, 'contrast', severity)  # truncated to uint8
    assert difference.min() > -1e-6 and difference.max() < 1 + 1e-6

    # The value of HSV is the largest channel; hue and saturation keep the channels' ratios.
    value = x.max(-1, keepdims=True)
    raised = (value + severity / 10).clip(0, 1)
    expected = np.where(value > 0, x * raised / np.maximum(value, 1e-9), raised) * 255
    difference = expected - apply(image, 'brightness', severity)
    assert difference.min() > -1e-6 and difference.max() < 1 + 1e-6


def test_gaussian_noise_equals_its_formula():
    """Normal noise of the published deviations; severities of an image share their draw."""
    image = np.full((64, 64, 3), 128, np.uint8)
    drawn = []
    for severity, scale in enumerate((0.08, 0.12, 0.18, 0.26, 0.38), 1):
        noisy = apply(image, 'gaussian_noise', severity).astype(np.float64)
        noise = (noisy + 0.5 - 128) / 255 / scale  # + 0.5: truncated
        noise[(noisy == 0) | (noisy == 255)] = np.nan  # clipped
        drawn.append(noise)
    assert np.nanstd(drawn[0]) == pytest.approx(1, abs=0.03)
    assert abs(np.nanmean(drawn[0])) < 0.03
    for noise in drawn[1:]:
        assert np.nanmax(np.abs(noise - drawn[0])) < 0.5 / 255 / 0.08 * 2


class Images(Sequence):
    """A data set of corrupted images, under every fast corruption in turn."""

    def __init__(self, images: list[np.ndarray]) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images) * len(FAST)

    def __getitem__(self, index: int) -> np.ndarray:  # type: ignore[override]
        number, which = divmod(index, len(FAST))
        return apply(self.images[number], FAST[which], 4)


def test_an_image_is_corrupted_alike_in_any_worker_and_order():
    images = pictures(3, size=(36, 32))
    data = Images(images)
    np.random.seed(1)
    expected = [data[i] for i in range(len(data))]
    np.random.seed(2)
    backwards = [data[i] for i in reversed(range(len(data)))][::-1]
    in_workers = list(DataLoader(data, batch_size=None, num_workers=2))
    for name, *found in zip(FAST * 3, expected, backwards, in_workers):
        clean, other, third = (np.asarray(x) for x in found)
        assert (clean == other).all() and (clean == third).all(), name
        assert clean.dtype == np.uint8 and clean.shape == (36, 32, 3)


def test_noise_differs_between_images_corruptions_and_seeds():
    flat = [np.full((32, 32, 3), value, np.uint8) for value in (128, 129)]
    noise = [apply(image, 'gaussian_noise').astype(int) - image for image in flat]
    noise.append(apply(flat[0], 'gaussian_noise', seed=1).astype(int) - flat[0])
    for i in range(3):
        for other in noise[:i]:
            correlation = np.corrcoef(noise[i].ravel(), other.ravel())[0, 1]
            assert abs(correlation) < 0.1


def test_glass_blur_and_impulse_noise_follow_the_image_too(monkeypatch):
    """They do not draw from NumPy's global generator, which others do."""
    compiled = corruptions._shuffle_pixels_njit_glass_blur  # in seconds; this is its source
    monkeypatch.setattr(corruptions, compiled.__name__, compiled.py_func)
    (image,) = pictures(size=(32, 32))
    for name in ('impulse_noise', 'glass_blur'):
        first, second = apply(image, name, 2), apply(image, name, 2)
        assert (first == second).all() and (first != image).any()
        assert (apply(image, name, 2, seed=1) != first).any()


def test_random_numbers_of_later_steps_do_not_change():
    np.random.seed(3)
    expected = np.random.rand(4)
    np.random.seed(3)
    apply(pictures()[0], 'snow')
    assert (np.random.rand(4) == expected).all()


def test_channel_order_and_gray_images():
    (image,) = pictures()
    for name in ('frost', 'spatter', 'jpeg_compression', 'gaussian_noise'):
        rgb, bgr = apply(image, name), apply(image[..., ::-1], name, channel_order='bgr')
        assert (rgb == bgr[..., ::-1]).all(), name
    gray = image[..., :1]
    assert apply(gray, 'fog').shape == gray.shape
    assert apply(gray[..., 0], 'contrast').shape == gray.shape[:2]


def test_groups():
    assert len(COMMON_CORRUPTIONS) == 15 and len(CORRUPTIONS) == 19
    assert parse_corruptions(['common']) == COMMON_CORRUPTIONS
    assert parse_corruptions(['fog', 'noise']) == (*CORRUPTIONS[:3], 'fog')
    with pytest.raises(
        DataError, match="no corruption 'rain'; there are gaussian_noise, shot_noise"
    ):
        parse_corruptions(['rain'])


def test_names_are_those_of_the_library():
    assert list(CORRUPTIONS) == get_corruption_names('all')
    assert list(COMMON_CORRUPTIONS) == get_corruption_names('common')


@pytest.mark.parametrize(
    ('arguments', 'image', 'message'),
    [
        (dict(corruption='rain'), None, "no corruption 'rain'; there are gaussian_noise"),
        (dict(corruption='fog', severity=6), None, 'severity must be 1 to 5, got 6'),
        (dict(corruption='fog'), np.zeros((31, 64, 3), np.uint8), '31x64 pixels .* 32x32 and more'),
        (dict(corruption='fog'), np.zeros((32, 32, 3), np.float32), '8-bit images, got float32'),
        (dict(corruption='fog'), np.zeros((32, 32, 4), np.uint8), 'one or three channels, got 4'),
    ],
)
def test_refusals(arguments, image, message):
    with pytest.raises(DataError, match=message):
        Corrupt(**arguments)(dict(img=image, img_path='a.png'))


def test_a_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, 'imagecorruptions', None)
    with pytest.raises(DataError, match=r"pip install 'simmim_mm\[robustness\]'"):
        Corrupt('fog')
