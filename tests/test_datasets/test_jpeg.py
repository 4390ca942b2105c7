"""JPEGs that are decoded when their crop is known."""

import io

import numpy as np
import pytest
from mmcv.transforms import BaseTransform
from PIL import Image

from simmim_mm.datasets import ImageDataset
from simmim_mm.datasets.errors import UnreadableImage
from simmim_mm.datasets.jpeg import DeferredImage, open_deferred
from simmim_mm.datasets.transforms import LoadImage, RandomResizedCrop, ResizeToCover
from simmim_mm.datasets.transforms.resizing import resize
from simmim_mm.registry import TRANSFORMS

RNG = np.random.default_rng(0)


def photo(height=240, width=320):
    """Smooth color with some fine texture, as photographs have it."""
    rows, columns = np.mgrid[:height, :width]
    waves = [128 + 90 * np.sin(rows / (17 + 5 * c) + columns / (29 - 4 * c)) for c in range(3)]
    noise = RNG.normal(0, 6, (height, width, 1))
    return np.clip(np.stack(waves, -1) + noise, 0, 255).astype(np.uint8)


def jpeg(image, **kwargs) -> bytes:
    buffer = io.BytesIO()
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(buffer, 'JPEG', **{'quality': 90, **kwargs})
    return buffer.getvalue()


def pillow(content) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)).convert('RGB'))


def deferred(content) -> DeferredImage:
    image = open_deferred(content, None, lambda: pillow(content))
    assert image is not None
    return image


@pytest.mark.parametrize(
    'content',
    [
        jpeg(photo()),
        jpeg(photo(), subsampling=0),
        jpeg(photo(), progressive=True),
        jpeg(photo(31, 45), subsampling=2),
        jpeg(photo()[..., 0]),
        jpeg(photo(), keep_rgb=True),
        jpeg(photo()) + b'what some cameras append' * 9,
    ],
    ids=['color', '444', 'progressive', 'odd', 'gray', 'rgb', 'appended'],
)
def test_a_crop_that_is_not_reduced_has_pillows_pixels(content):
    image, whole = deferred(content), pillow(content)
    assert (image.shape, image.dtype) == (whole.shape, whole.dtype)
    np.testing.assert_array_equal(np.asarray(image), whole)
    pixels, box = image.crop((3, 5, 20, 31), (24, 24))
    assert box == (3, 5, 20, 31)
    np.testing.assert_array_equal(pixels, whole[3:23, 5:36])


@pytest.mark.parametrize('n', [1, 2, 4, 8])
def test_a_reduced_crop_shows_the_means_of_its_box(n):
    content = jpeg(photo(700, 820))
    size = (30, 25) if n > 1 else (60, 50)
    pixels, (top, left, height, width) = deferred(content).crop(
        (30, 41, 60 * n + 5, 50 * n + 3), size
    )
    assert pixels.shape == (height // n, width // n, 3)
    assert top % n == left % n == height % n == width % n == 0
    assert np.abs(np.subtract((top, left), (30, 41))).max() <= n / 2
    assert np.abs(np.subtract((height, width), (60 * n + 5, 50 * n + 3))).max() <= n
    box = pillow(content)[top : top + height, left : left + width].astype(float)
    means = box.reshape(height // n, n, width // n, n, 3).mean((1, 3))
    assert np.abs(pixels - means).mean() < 1


@pytest.mark.parametrize('axis', [0, 1])
def test_a_reduced_crop_is_not_shifted(axis):
    ramp = np.linspace(0, 255, 1600)
    ramp = np.broadcast_to(ramp[:, None] if axis == 0 else ramp, (1600, 1600))
    content = jpeg(np.repeat(ramp[..., None], 3, -1).round().astype(np.uint8), quality=98)
    for box, size in (
        ((0, 0, 1600, 1600), 192),
        ((37, 91, 1001, 1203), 192),
        ((9, 1, 420, 430), 96),
    ):
        pixels, (top, left, height, width) = deferred(content).crop(box, (size, size))
        small = resize(pixels, (size, size), 'bilinear').astype(float)[..., 0]
        # The centers of the output's pixels, in pixels of the file; the ramp's value there.
        start, length = (top, height) if axis == 0 else (left, width)
        centers = start + (np.arange(size) + 0.5) * length / size - 0.5
        inner = slice(4, -4)  # where the filter is not cut off by the edge
        error = small.mean(1 - axis) - centers * 255 / 1599
        assert (
            abs(error[inner].mean()) < 0.12
        )  # of 255: less than a pixel of the file, of 2 or more
        assert np.abs(error[inner]).max() < 1


@pytest.mark.parametrize('ratio', [(0.67, 1.0), (0.2, 1.0)])
@pytest.mark.parametrize('shape', [(375, 500), (1200, 1600)])
def test_crops_are_the_authors_within_a_level(tmp_path, shape, ratio):
    (tmp_path / 'a.jpg').write_bytes(jpeg(photo(*shape)))
    crop = dict(crop_ratio_range=ratio, aspect_ratio_range=(3 / 4, 4 / 3), interpolation='bicubic')
    fast, exact = LoadImage(), LoadImage()
    fast.defers = True
    for seed in range(4):
        np.random.seed(seed)
        results = fast(dict(img_path=str(tmp_path / 'a.jpg')))
        assert isinstance(results['img'], DeferredImage)
        assert results['ori_shape'] == shape
        new = RandomResizedCrop(96, **crop)(results)['img'].astype(float)
        np.random.seed(seed)
        draw = RandomResizedCrop(96, **crop)
        box = draw.rand_crop_params(np.empty((*shape, 3)))
        shown = deferred((tmp_path / 'a.jpg').read_bytes()).crop(box, (96, 96))[1]
        authors = pillow_crop(tmp_path / 'a.jpg', shown)
        assert np.abs(new - authors).mean() <= 1
        np.random.seed(seed)
        same = RandomResizedCrop(96, backend='pillow', **crop)(
            exact(dict(img_path=str(tmp_path / 'a.jpg')))
        )
        np.testing.assert_array_equal(same['img'], pillow_crop(tmp_path / 'a.jpg', box))


def pillow_crop(path, box):
    top, left, height, width = box
    image = Image.open(path).crop((left, top, left + width, top + height))
    return np.asarray(image.resize((96, 96), Image.Resampling.BICUBIC))


def test_the_map_is_cut_by_the_box_that_is_shown():
    content = jpeg(photo(400, 400))
    rows = np.broadcast_to((np.arange(400) // 2).astype(np.uint8)[:, None], (400, 400))
    results = dict(img=deferred(content), gt_seg_map=np.ascontiguousarray(rows))
    results = ResizeToCover(80)(results)
    assert results['img'].shape == (80, 80, 3)
    np.testing.assert_allclose(results['gt_seg_map'][:, 0], np.arange(80) * 2.5 + 1, atol=1)


@TRANSFORMS.register_module()
class NeedsAnArray(BaseTransform):
    def transform(self, results):
        assert isinstance(results['img'], np.ndarray)
        results['img'] = results['img'][:8, :8]
        return results


@pytest.mark.parametrize(
    ('step', 'defers'),
    [
        (dict(type='simmim_mm.RandomResizedCrop', scale=32), True),
        (dict(type='simmim_mm.RandomResizedCrop', scale=32, backend='pillow'), False),
        (dict(type='simmim_mm.SimpleResizedCrop', size=32), True),
        (dict(type='simmim_mm.NeedsAnArray'), False),
        (dict(type='mmpretrain.CenterCrop', crop_size=32), False),
    ],
)
def test_only_a_crop_that_can_decode_gets_undecoded_files(tmp_path, step, defers):
    (tmp_path / 'a.jpg').write_bytes(jpeg(photo()))
    dataset = ImageDataset(tmp_path, pipeline=[dict(type='simmim_mm.LoadImage'), step])
    assert dataset.pipeline.transforms[0].defers is defers
    assert isinstance(dataset[0]['img'], np.ndarray)


@pytest.mark.parametrize(
    'content',
    [
        jpeg(photo()),
        jpeg(Image.fromarray(photo()).convert('CMYK')),
        b'\xff\xd8 but no more',
    ],
    ids=['plain', 'cmyk', 'damaged'],
)
def test_reads_what_it_reads_at_once(tmp_path, content):
    _assert_read_alike(tmp_path, content)


def test_a_turned_photograph_is_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    content = jpeg(photo(), exif=exif.tobytes())
    assert open_deferred(content, None, lambda: pillow(content)) is None
    _assert_read_alike(tmp_path, content)


def test_a_photograph_turned_by_xmp_is_upright(tmp_path):
    packet = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
        'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
        'xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
    )
    content = jpeg(photo(), xmp=packet.encode())
    assert open_deferred(content, None, lambda: pillow(content)) is None
    _assert_read_alike(tmp_path, content)


def test_metadata_without_a_rotation_do_not_matter():
    exif = Image.Exif()
    exif[0x010F] = 'a camera'
    content = jpeg(photo(), exif=exif.tobytes())
    np.testing.assert_array_equal(np.asarray(deferred(content)), pillow(content))


@pytest.mark.parametrize('keep', [0.5, 0.98])
def test_a_truncated_file_is_unreadable_in_the_same_words(tmp_path, keep, capfd):
    content = jpeg(photo())
    _assert_read_alike(tmp_path, content[: int(len(content) * keep)])
    assert capfd.readouterr().err == ''


def test_data_damaged_in_the_middle_are_read_as_pillow_does(tmp_path, capfd):
    content = bytearray(jpeg(photo(), restart_marker_blocks=4))
    middle = len(content) // 2
    content[middle : middle + 40] = bytes(40)
    _assert_read_alike(tmp_path, bytes(content))
    assert capfd.readouterr().err == ''


def test_too_large_a_file_is_refused_before_it_is_decoded(tmp_path):
    content = jpeg(photo())
    assert open_deferred(content, 240 * 320 - 1, lambda: pillow(content)) is None
    (tmp_path / 'a.jpg').write_bytes(content)
    load = LoadImage(max_pixels=1000)
    load.defers = True
    with pytest.raises(UnreadableImage, match='320 x 240 pixels'):
        load(dict(img_path=str(tmp_path / 'a.jpg')))


def _assert_read_alike(folder, content: bytes) -> None:
    """Deferred or not: the same pixels, or the same message."""
    (folder / 'a.jpg').write_bytes(content)
    outcomes = []
    for defers in (False, True):
        load = LoadImage()
        load.defers = defers
        try:
            results = ResizeToCover(200)(load(dict(img_path=str(folder / 'a.jpg'))))
            outcomes.append(results['img'].tolist())
        except UnreadableImage as error:
            outcomes.append(str(error))
    assert outcomes[0] == outcomes[1]
