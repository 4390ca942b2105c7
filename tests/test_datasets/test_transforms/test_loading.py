"""Every kind of file that somebody's folder may hold."""

import io
import logging
import struct
import sys
import warnings
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from simmim_mm.datasets import UnreadableImage
from simmim_mm.datasets.transforms import LoadImage

RNG = np.random.default_rng(0)
GRAY = RNG.integers(0, 256, (6, 9), dtype=np.uint8)
RGB = RNG.integers(0, 256, (6, 9, 3), dtype=np.uint8)
PLANES = RNG.integers(0, 256, (6, 9, 5), dtype=np.uint8)


def load(path, **kwargs):
    return LoadImage(**kwargs)(dict(img_path=str(path)))['img']


def saved(tmp_path, image, name, **kwargs):
    path = tmp_path / name
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    image.save(path, **kwargs)
    return path


def reason(path, **kwargs):
    with pytest.raises(UnreadableImage) as caught:
        load(path, **kwargs)
    assert caught.value.path == str(path)
    return caught.value.reason


@pytest.mark.parametrize('name', ['a.png', 'a.bmp', 'a.tif', 'a.ppm', 'a.webp', 'a.jp2'])
def test_lossless_formats_come_back_exactly_in_rgb_order(tmp_path, name):
    path = saved(tmp_path, RGB, name, **(dict(lossless=True) if name == 'a.webp' else {}))
    results = LoadImage()(dict(img_path=str(path)))
    np.testing.assert_array_equal(results['img'], RGB)
    assert results['img_shape'] == results['ori_shape'] == (6, 9)


def test_jpeg_is_what_pillow_decodes(tmp_path):
    path = saved(tmp_path, RGB, 'a.jpg', quality=50)
    np.testing.assert_array_equal(load(path), np.asarray(Image.open(path)))


def test_the_content_says_the_format(tmp_path):
    saved(tmp_path, RGB, 'a.png').rename(tmp_path / 'a.jpg')
    np.testing.assert_array_equal(load(tmp_path / 'a.jpg'), RGB)


@pytest.mark.parametrize('orientation', range(1, 9))
@pytest.mark.parametrize('name', ['a.jpg', 'a.png', 'a.tif'])
def test_exif_orientation_is_applied(tmp_path, name, orientation):
    # A photograph with one bright corner; where the corner goes is in the EXIF standard.
    upright = np.zeros((32, 48), dtype=np.uint8)
    upright[:16, :16] = 255
    stored = {  # how the camera stored the upright scene
        1: lambda x: x,
        2: np.fliplr,
        3: lambda x: np.rot90(x, 2),
        4: np.flipud,
        5: np.transpose,
        6: lambda x: np.rot90(x, 1),
        7: lambda x: np.rot90(x, 2).T,
        8: lambda x: np.rot90(x, -1),
    }[orientation](upright)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path, np.ascontiguousarray(stored), name, exif=exif)
    for channels in ('gray', 1):
        np.testing.assert_allclose(load(path, channels=channels)[..., 0], upright, atol=40)


def test_damaged_exif_data_do_not_cost_the_image(tmp_path):
    path = saved(tmp_path, RGB, 'a.jpg', exif=b'Exif\0\0garbage that is no TIFF header')
    assert load(path).shape == RGB.shape


def test_gray_and_color_are_converted(tmp_path):
    gray, rgb = saved(tmp_path, GRAY, 'g.png'), saved(tmp_path, RGB, 'c.png')
    np.testing.assert_array_equal(load(gray), np.stack([GRAY] * 3, -1))
    np.testing.assert_array_equal(load(gray, channels='gray')[..., 0], GRAY)
    luma = np.asarray(Image.fromarray(RGB).convert('L'))
    np.testing.assert_allclose(load(rgb, channels='gray')[..., 0], luma, atol=1)


def test_one_bit_images_are_black_and_white(tmp_path):
    path = saved(tmp_path, Image.fromarray(GRAY).convert('1'), 'a.png')
    assert set(np.unique(load(path))) == {0, 255}


@pytest.mark.parametrize('name', ['a.png', 'a.gif', 'a.bmp', 'a.tif'])
def test_palettes_are_expanded(tmp_path, name):
    image = Image.fromarray(RGB).quantize(16)
    path = saved(tmp_path, image, name)
    np.testing.assert_array_equal(load(path), np.asarray(image.convert('RGB')))
    np.testing.assert_array_equal(load(path, channels=3), np.asarray(image.convert('RGB')))


def test_cmyk_is_converted_or_kept(tmp_path):
    image = Image.fromarray(RGB).convert('CMYK')
    path = saved(tmp_path, image, 'a.tif')
    np.testing.assert_array_equal(load(path), np.asarray(image.convert('RGB')))
    np.testing.assert_array_equal(load(path, channels=4), np.asarray(image))
    assert load(saved(tmp_path, image, 'a.jpg')).shape == RGB.shape


@pytest.mark.parametrize('background', [(124, 117, 104), (255, 255, 255)])
def test_transparent_pixels_show_the_background(tmp_path, background):
    alpha = np.zeros((6, 9, 1), dtype=np.uint8)
    alpha[:2], alpha[2:4] = 255, 128
    path = saved(tmp_path, np.concatenate([RGB, alpha], -1), 'a.png')
    img = load(path, background=background)
    np.testing.assert_array_equal(img[:2], RGB[:2])  # opaque
    np.testing.assert_array_equal(img[4:], np.broadcast_to(background, (2, 9, 3)))
    half = RGB[2:4] * (128 / 255) + np.array(background) * (127 / 255)
    np.testing.assert_allclose(img[2:4], half, atol=0.51)
    np.testing.assert_array_equal(load(path, channels=4)[..., 3:], alpha)


def test_transparency_of_gray_and_palette_images(tmp_path):
    alpha = Image.new('L', (9, 6), 0)
    gray = Image.fromarray(GRAY)
    path = saved(tmp_path, Image.merge('LA', (gray, alpha)), 'la.png')
    assert (load(path) == (124, 117, 104)).all()
    palette = Image.new('P', (9, 6), 3)
    palette.putpalette([0, 0, 0] * 3 + [10, 20, 30])
    assert (load(saved(tmp_path, palette, 'p.png')) == (10, 20, 30)).all()
    path = saved(tmp_path, palette, 't.png', transparency=3)
    assert (load(path) == (124, 117, 104)).all()
    assert load(saved(tmp_path, palette, 't.gif', transparency=3)).max() == 124
    color = (9, 8, 7)
    path = saved(tmp_path, Image.new('RGB', (9, 6), color), 'k.png', transparency=color)
    assert (load(path) == (124, 117, 104)).all()


@pytest.mark.parametrize('name', ['a.png', 'a.tif', 'a.pgm', 'a.npy', 'big-endian.tif'])
def test_16_bit_gray_is_scaled_not_clipped(tmp_path, name):
    values = np.array([[0, 128, 129, 257, 300, 32768, 65535 - 128, 65535]], dtype=np.uint16)
    path = tmp_path / name
    if name == 'a.npy':
        np.save(path, values)
    elif name == 'big-endian.tif':
        tifffile.imwrite(path, values, byteorder='>')
    else:
        saved(tmp_path, values, name)
    eight_bit = np.array([[0, 0, 1, 1, 1, 128, 255, 255]])  # round(value / 257)
    for channels in ('rgb', 'gray'):
        img = load(path, channels=channels)
        assert img.dtype == np.uint8
        np.testing.assert_array_equal(img[..., 0], eight_bit)
    raw = load(path, channels=1)
    assert raw.dtype == np.float32
    np.testing.assert_array_equal(raw[..., 0], values)


def test_16_bit_color(tmp_path):
    rgb16 = RGB.astype(np.uint16) * 257
    path = tmp_path / 'a.tif'
    tifffile.imwrite(path, rgb16, photometric='rgb')
    np.testing.assert_array_equal(load(path), RGB)
    np.testing.assert_array_equal(load(path, channels=3), rgb16)
    alpha = np.full((6, 9, 1), 65535, dtype=np.uint16)
    tifffile.imwrite(path, np.concatenate([rgb16, alpha], -1), photometric='rgb')
    np.testing.assert_array_equal(load(path), RGB)


@pytest.mark.parametrize('dtype', ['float32', 'float64', 'int32', 'int16', 'uint32'])
def test_other_types_keep_their_values(tmp_path, dtype):
    values = np.array([[0, 1, 2000], [3, 40000 if dtype != 'int16' else 4, 5]], dtype=dtype)
    tifffile.imwrite(tmp_path / 'a.tif', values)
    np.save(tmp_path / 'a.npy', values)
    for name in ('a.tif', 'a.npy'):
        for channels in (1, 'unchanged', 'gray'):
            img = load(tmp_path / name, channels=channels)
            assert img.dtype == np.float32
            np.testing.assert_array_equal(img[..., 0], values)


TIFF_LAYOUTS = {
    'chunky': (PLANES, dict(photometric='minisblack', planarconfig='contig')),
    'planar': (
        np.moveaxis(PLANES, -1, 0),
        dict(photometric='minisblack', planarconfig='separate'),
    ),
    'pages': (np.moveaxis(PLANES, -1, 0), dict(photometric='minisblack')),
    'unlabeled channels last': (PLANES, dict(photometric='minisblack')),
    'labeled': (np.moveaxis(PLANES, -1, 0), dict(metadata={'axes': 'CYX'})),
    'imagej': (np.moveaxis(PLANES, -1, 0), dict(imagej=True)),
    'compressed': (
        PLANES,
        dict(photometric='minisblack', planarconfig='contig', compression='zlib'),
    ),
    'bigtiff': (PLANES, dict(photometric='minisblack', planarconfig='contig', bigtiff=True)),
}


@pytest.mark.parametrize('kind', TIFF_LAYOUTS)
@pytest.mark.parametrize('dtype', [np.uint8, np.uint16, np.float32])
def test_tiff_of_many_channels(tmp_path, kind, dtype):
    array, kwargs = TIFF_LAYOUTS[kind]
    tifffile.imwrite(tmp_path / 'a.tif', array.astype(dtype), **kwargs)
    for channels in (5, 'unchanged'):
        img = load(tmp_path / 'a.tif', channels=channels)
        assert img.dtype == (np.uint8 if dtype == np.uint8 else np.float32)
        np.testing.assert_array_equal(img, PLANES)


@pytest.mark.parametrize('planar', [False, True])
def test_color_tiff_of_either_plane_order(tmp_path, planar):
    array = np.moveaxis(RGB, -1, 0) if planar else RGB
    tifffile.imwrite(tmp_path / 'a.tif', array, photometric='rgb')
    np.testing.assert_array_equal(load(tmp_path / 'a.tif'), RGB)


@pytest.mark.parametrize(
    ('array', 'channels'),
    [
        (PLANES, 5),
        (np.moveaxis(PLANES, -1, 0), 5),
        (PLANES, 'unchanged'),
        (np.moveaxis(PLANES, -1, 0), 'unchanged'),
        (np.asfortranarray(PLANES), 5),
        (PLANES.astype('>u2'), 5),
        (PLANES.astype(np.float64), 5),
    ],
)
def test_npy_channels_first_or_last(tmp_path, array, channels):
    np.save(tmp_path / 'a.npy', array)
    img = load(tmp_path / 'a.npy', channels=channels)
    np.testing.assert_array_equal(img, PLANES)
    assert img.flags.c_contiguous
    assert img.flags.writeable


def test_npy_as_color(tmp_path):
    np.save(tmp_path / 'a.npy', np.moveaxis(RGB, -1, 0))
    np.testing.assert_array_equal(load(tmp_path / 'a.npy'), RGB)
    np.save(tmp_path / 'a.npy', GRAY)
    np.testing.assert_array_equal(load(tmp_path / 'a.npy'), np.stack([GRAY] * 3, -1))
    np.save(tmp_path / 'a.npy', GRAY > 127)
    np.testing.assert_array_equal(load(tmp_path / 'a.npy')[..., 0], (GRAY > 127) * 255)


def test_an_expected_number_of_channels_wins_over_the_shorter_axis(tmp_path):
    array = RNG.integers(0, 256, (4, 6, 5), dtype=np.uint8)  # 4 rows, 6 columns, 5 channels
    np.save(tmp_path / 'a.npy', array)
    np.testing.assert_array_equal(load(tmp_path / 'a.npy', channels=5), array)


def test_an_ambiguous_array_is_refused_until_the_layout_is_given(tmp_path):
    array = RNG.integers(0, 256, (5, 7, 5), dtype=np.uint8)
    path = tmp_path / 'a.npy'
    np.save(path, array)
    for channels in (5, 'unchanged'):
        assert "dict(type='simmim_mm.LoadImage', layout='hwc')" in reason(path, channels=channels)
    np.testing.assert_array_equal(load(path, channels=5, layout='hwc'), array)
    np.testing.assert_array_equal(load(path, channels=5, layout='chw'), array.transpose(1, 2, 0))


def test_a_wrong_number_of_channels_names_both_numbers(tmp_path):
    path = tmp_path / 'a.npy'
    np.save(path, PLANES)
    line = (
        "dict(type='simmim_mm.LoadImage', channels=5{}) in the place of the loader, the first step"
    )
    text = reason(path, channels=4, fill_nan=0.0)
    assert text.startswith('has 5 channels, but the loader has channels=4: take the file out, or')
    assert line.format(', fill_nan=0.0') in text  # with its other settings
    assert line.format('') in reason(path, channels='rgb')
    for channels in (4, 'rgb'):
        assert 'in_channels=5, and 5 values each in mean and std' in reason(path, channels=channels)
    assert 'has 1 channel,' in reason(saved(tmp_path, GRAY, 'g.png'), channels=3)


def test_nan_is_refused_or_filled(tmp_path):
    array = GRAY.astype(np.float32)
    array[1, 2], array[3, 4] = np.nan, np.inf
    np.save(tmp_path / 'a.npy', array)
    assert 'fill_nan' in reason(tmp_path / 'a.npy', channels=1)
    img = load(tmp_path / 'a.npy', channels=1, fill_nan=-1)[..., 0]
    assert img[1, 2] == img[3, 4] == -1
    assert img[0, 0] == GRAY[0, 0]


def png_of_size(width, height):
    """A well-formed header for that many pixels, and no pixels."""

    def chunk(kind, data):
        checksum = struct.pack('>I', zlib.crc32(kind + data))
        return struct.pack('>I', len(data)) + kind + data + checksum

    header = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
    data = chunk(b'IHDR', header) + chunk(b'IDAT', zlib.compress(b'')) + chunk(b'IEND', b'')
    return b'\x89PNG\r\n\x1a\n' + data


def zero_pixel_npy():
    file = io.BytesIO()
    np.save(file, np.zeros((0, 5), dtype=np.uint8))
    return file.getvalue()


def object_npy():
    file = io.BytesIO()
    np.save(file, np.array([{}, {}], dtype=object), allow_pickle=True)
    return file.getvalue()


def truncated(save):
    file = io.BytesIO()
    save(file, RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    return file.getvalue()[: len(file.getvalue()) // 2]


BAD_FILES = {
    'empty.jpg': (b'', 'empty file'),
    'text.jpg': (b'this is not an image at all', 'not an image'),
    'eps.jpg': (b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n', 'not an'),
    'truncated.jpg': (truncated(lambda f, x: Image.fromarray(x).save(f, 'JPEG')), 'truncated'),
    'truncated.png': (truncated(lambda f, x: Image.fromarray(x).save(f, 'PNG')), 'truncated'),
    'truncated.webp': (truncated(lambda f, x: Image.fromarray(x).save(f, 'WEBP')), ''),
    'truncated.tif': (truncated(lambda f, x: Image.fromarray(x).save(f, 'TIFF')), ''),
    'truncated-channels.tif': (
        truncated(lambda f, x: tifffile.imwrite(f, x.astype(np.uint16), photometric='rgb')),
        '',
    ),
    'truncated.npy': (truncated(np.save), ''),
    'only-magic.tif': (b'II*\0', ''),
    'only-magic.npy': (b'\x93NUMPY', ''),
    'pickled.npy': (object_npy(), 'pickle'),
    'zero-pixels.npy': (zero_pixel_npy(), 'no pixels'),
    'zero-pixels.png': (png_of_size(0, 5), ''),
    'bomb.png': (png_of_size(50_000, 50_000), '50000 x 50000 pixels'),
}


@pytest.mark.parametrize('name', BAD_FILES)
@pytest.mark.parametrize('channels', ['rgb', 3])
def test_bad_files_raise_one_kind_of_error_and_nothing_is_printed(
    tmp_path, name, channels, capfd, caplog
):
    content, expected = BAD_FILES[name]
    (tmp_path / name).write_bytes(content)
    with warnings.catch_warnings(), caplog.at_level(logging.WARNING):
        warnings.simplefilter('error')
        assert expected in reason(tmp_path / name, channels=channels)
    printed = capfd.readouterr()
    assert not printed.out
    assert not printed.err
    assert not caplog.records


def test_missing_files_and_folders(tmp_path):
    assert reason(tmp_path / 'none.jpg') == 'no such file or directory'
    assert reason(tmp_path) == 'is a directory'


def test_the_size_limit_can_be_moved(tmp_path):
    path = saved(tmp_path, RGB, 'a.png')
    text = reason(path, max_pixels=53)
    assert 'over the limit of max_pixels=53' in text and "LoadImage', max_pixels=None)" in text
    load(path, max_pixels=54)
    before = Image.MAX_IMAGE_PIXELS
    load(path, max_pixels=None)
    assert before == Image.MAX_IMAGE_PIXELS
    tifffile.imwrite(tmp_path / 'a.tif', PLANES, photometric='minisblack', planarconfig='contig')
    assert 'max_pixels=53' in reason(tmp_path / 'a.tif', channels=5, max_pixels=53)


@pytest.mark.parametrize('kwargs', [dict(channels='bgr'), dict(channels=0), dict(layout='nchw')])
def test_wrong_arguments_are_named(kwargs):
    with pytest.raises(ValueError, match=str(*kwargs.values())):
        LoadImage(**kwargs)


@pytest.mark.parametrize('channels', ['rgb', 'gray', 1])
def test_a_window_is_stretched_to_8_bits(tmp_path, channels):
    np.save(tmp_path / 'a.npy', np.array([[-1000, -160, 40, 240, 3000]], np.int16))
    img = load(tmp_path / 'a.npy', channels=channels, window=(-160, 240))
    assert img.dtype == (np.float32 if channels == 1 else np.uint8)
    np.testing.assert_allclose(img[0, :, 0], [0, 0, 127.5, 255, 255], atol=0.5)


def test_a_window_replaces_the_division_by_257(tmp_path):
    values = np.linspace(0, 4095, 256).astype(np.uint16).reshape(16, 16)
    tifffile.imwrite(tmp_path / 'a.tif', values)
    assert len(np.unique(load(tmp_path / 'a.tif'))) == 17
    assert len(np.unique(load(tmp_path / 'a.tif', window=(0, 4095)))) == 256
    assert len(np.unique(load(tmp_path / 'a.tif', window=('0%', '100%')))) == 256
    assert 'suggests no window' in reason(tmp_path / 'a.tif', window='file')


@pytest.mark.parametrize('axes', ['ZYX', 'TYX'])
def test_pages_are_no_channels_unless_their_number_is_asked_for(tmp_path, axes):
    path, stack = tmp_path / 'a.tif', np.moveaxis(PLANES, -1, 0)[:3]
    tifffile.imwrite(path, stack, imagej=True, metadata={'axes': axes})
    for channels in ('rgb', 'gray', 'unchanged', 5):
        assert f'holds 3 pages (its axes are {axes})' in reason(path, channels=channels)
    np.testing.assert_array_equal(load(path, channels=3), PLANES[..., :3])


def test_y_and_x_are_the_picture_however_many_pages_there_are(tmp_path):
    """A stack of 60 pages of 40 x 50 was read as 60 x 40 with 50 channels."""
    stack = RNG.integers(0, 256, (60, 40, 50), dtype=np.uint8)
    for name, kwargs in (('a.tif', dict(imagej=True)), ('b.tif', dict(ome=True))):
        tifffile.imwrite(tmp_path / name, stack, **kwargs, metadata={'axes': 'ZYX'})
        assert 'holds 60 pages' in reason(tmp_path / name, channels=50)
        assert load(tmp_path / name, channels=60).shape == (40, 50, 60)


def test_pages_of_pillow_and_separate_images(tmp_path):
    pages = [Image.fromarray(GRAY) for _ in range(3)]
    pages[0].save(tmp_path / 'a.tif', save_all=True, append_images=pages[1:])
    assert 'holds 3 pages' in reason(tmp_path / 'a.tif')
    with tifffile.TiffWriter(tmp_path / 'b.tif') as tiff:
        tiff.write(GRAY, metadata=None)
        tiff.write(RGB, metadata=None)
    assert 'holds 2 separate images (6 x 9, 6 x 9 x 3)' in reason(tmp_path / 'b.tif')


def test_overviews_and_masks_are_no_images_of_their_own(tmp_path):
    with tifffile.TiffWriter(tmp_path / 'a.tif') as tiff:
        tiff.write(np.repeat(np.repeat(RGB, 4, 0), 4, 1), metadata=None)
        tiff.write(RGB, subfiletype=1, metadata=None)
        tiff.write(np.zeros((24, 36), bool), subfiletype=4, photometric='mask', metadata=None)
    assert load(tmp_path / 'a.tif').shape == (24, 36, 3)


def test_a_missing_codec_is_named_with_the_extra(tmp_path, monkeypatch):
    def needs_imagecodecs(*args, **kwargs):
        raise ValueError("<COMPRESSION.ZSTD: 50000> requires the 'imagecodecs' package")

    tifffile.imwrite(tmp_path / 'a.tif', PLANES, photometric='minisblack', planarconfig='contig')
    monkeypatch.setattr(tifffile.TiffPageSeries, 'asarray', needs_imagecodecs)
    assert "pip install 'simmim_mm[formats]'" in reason(tmp_path / 'a.tif', channels=5)


@pytest.mark.parametrize(
    'kwargs',
    [dict(compression=kind) for kind in ('lzw', 'zstd', 'deflate')]
    + [dict(compression='lzw', predictor=True), dict(compression='zstd', predictor=3)],
)
def test_compressed_channels(tmp_path, kwargs):
    pytest.importorskip('imagecodecs')
    array = PLANES.astype(np.float32 if kwargs.get('predictor') == 3 else np.uint16)
    layout = dict(photometric='minisblack', planarconfig='contig')
    tifffile.imwrite(tmp_path / 'a.tif', array, **layout, **kwargs)
    np.testing.assert_array_equal(load(tmp_path / 'a.tif', channels=5), array)


def save_dicom(path, stored, **tags):
    pydicom = pytest.importorskip('pydicom')
    dataset = pydicom.Dataset()
    dataset.Rows, dataset.Columns = stored.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, 'MONOCHROME2'
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation = 0
    for name, value in tags.items():
        setattr(dataset, name, value)
    dataset.PixelData = stored.astype(np.uint16).tobytes()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.SOPClassUID = pydicom.uid.CTImageStorage
    dataset.SOPInstanceUID = pydicom.uid.generate_uid()
    pydicom.dcmwrite(path, dataset, enforce_file_format=True)


STORED = np.linspace(0, 4095, 48).round().reshape(6, 8)


def test_damaged_dicom_is_called_so(tmp_path):
    pytest.importorskip('pydicom')
    (tmp_path / 'a.dcm').write_bytes(bytes(128) + b'DICM' + bytes(1000))
    with pytest.raises(UnreadableImage, match='DICOM that cannot be decoded'):
        load(tmp_path / 'a.dcm')


def test_dicom_is_rescaled(tmp_path):
    save_dicom(tmp_path / 'a.dcm', STORED, RescaleSlope=2, RescaleIntercept=-1024)
    img = load(tmp_path / 'a.dcm', channels=1)
    np.testing.assert_allclose(img[..., 0], STORED * 2 - 1024)
    shown = load(tmp_path / 'a.dcm', channels='gray', window=(-160, 240))[..., 0]
    np.testing.assert_allclose(shown, ((STORED * 2 - 864) / 400 * 255).clip(0, 255), atol=0.51)


def test_inverted_dicom_looks_like_the_other(tmp_path):
    tags = dict(WindowCenter=1000, WindowWidth=500, PixelPaddingValue=0)
    save_dicom(tmp_path / 'a.dcm', STORED, **tags)
    tags.update(WindowCenter=3095, PixelPaddingValue=4095, PhotometricInterpretation='MONOCHROME1')
    save_dicom(tmp_path / 'b.dcm', 4095 - STORED, **tags)
    for kwargs in (dict(), dict(window='file'), dict(nodata='file')):
        first, second = (load(tmp_path / name, channels=1, **kwargs) for name in ('a.dcm', 'b.dcm'))
        np.testing.assert_allclose(first, second)
    assert load(tmp_path / 'a.dcm', channels=1, window='file').max() == 255


def test_dicom_of_several_frames_is_refused(tmp_path):
    save_dicom(tmp_path / 'a.dcm', STORED, NumberOfFrames=3)
    assert 'holds 3 frames' in reason(tmp_path / 'a.dcm', channels=1)


def test_dicom_without_pydicom_says_how(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'pydicom', None)
    (tmp_path / 'a.dcm').write_bytes(bytes(128) + b'DICM' + bytes(1000))
    text = reason(tmp_path / 'a.dcm')
    assert "pip install 'simmim_mm[formats]'" in text and 'convert' in text
