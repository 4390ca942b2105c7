"""What is fuzzed: sound files of every format that is read, and their readers."""

import io
import json
import random
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import torch
from fuzz import Kind, damaged, lap, odd_values
from mmengine.config import Config
from mmengine.registry import init_default_scope
from PIL import Image, ImageCms

from simmim_mm.catalog import ConfigError, load_config
from simmim_mm.checkpoint import CheckpointError, load_backbone, load_weights
from simmim_mm.cli.common import is_user_error
from simmim_mm.curation import check_shards, inspect_coco, read_report, shard_folder
from simmim_mm.curation.inspection import inspect_file
from simmim_mm.datasets import UnreadableImage
from simmim_mm.datasets.decode import quiet_decoders
from simmim_mm.datasets.errors import DataError
from simmim_mm.datasets.image_folder import list_images, read_list
from simmim_mm.datasets.image_headers import read_header
from simmim_mm.datasets.readers.segmentation_maps import load_mapped, load_segmentation_map
from simmim_mm.datasets.tiff import check_page_chain
from simmim_mm.datasets.transforms.loading import LoadImage
from simmim_mm.evaluation.features import FeatureExtractor
from simmim_mm.experiments.pretrained import read_pretrained
from simmim_mm.experiments.run_report import write_run_report
from simmim_mm.interop import convert_checkpoint, read_source
from simmim_mm.models.backbones import MaskedSwin
from simmim_mm.registry import MODELS
from simmim_mm.visualization.painted_mask import load_painted_mask
from simmim_mm.visualization.reconstructor import Reconstructor

SIDE = 40


def pixels(channels: int = 3, dtype: str = 'uint8', side: int = SIDE) -> np.ndarray:
    """A smooth picture with some noise, ``(side, side + 8, channels)``."""
    rng = np.random.default_rng(channels)
    y, x = np.mgrid[:side, : side + 8] / side
    waves = [np.sin(3 * x + c) * np.cos(5 * y - c) for c in range(channels)]
    picture = (np.stack(waves, -1) + 1) / 2 + rng.normal(0, 0.02, (side, side + 8, channels))
    picture = picture.clip(0, 1)
    if np.dtype(dtype).kind == 'f':
        return picture.astype(dtype)
    return (picture * np.iinfo(dtype).max).astype(dtype)


def written(save: Callable[[io.BytesIO], Any]) -> bytes:
    """What a function writes to a file."""
    file = io.BytesIO()
    save(file)
    return file.getvalue()


# ---- images ----
def pillow(kind: str, image: Image.Image | None = None, **options: Any) -> bytes:
    """An image file by Pillow."""
    image = image or Image.fromarray(pixels())
    return written(lambda file: image.save(file, kind, **options))


def metadata() -> dict[str, Any]:
    """EXIF data with an orientation, a text and a position; a color profile."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, 'a text'
    exif.get_ifd(0x8825)[2] = (1.0, 2.0, 3.0)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile('sRGB')).tobytes()
    return dict(exif=exif.tobytes(), icc_profile=profile)


def tiff(array: np.ndarray | None = None, **options: Any) -> bytes:
    """An image file by tifffile."""
    array = pixels() if array is None else array
    options.setdefault('photometric', 'rgb' if array.shape[-1] == 3 else 'minisblack')
    return written(lambda file: tifffile.imwrite(file, array, **options))


def gray(dtype: str = 'uint8', pages: int = 0) -> np.ndarray:
    """``(H, W)``, or ``(pages, H, W)``."""
    return pixels(pages, dtype).transpose(2, 0, 1).copy() if pages else pixels(1, dtype)[..., 0]


def npy(array: np.ndarray) -> bytes:
    return written(lambda file: np.save(file, array))


def dicom(syntax: str = 'ExplicitVRLittleEndian', compress: str = '', zeros: int = 0) -> bytes:
    """A DICOM file of 16 bits, which pydicom compresses; with bytes behind the pixels."""
    import pydicom
    from pydicom import uid
    from pydicom.dataset import FileDataset, FileMetaDataset

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = uid.CTImageStorage
    meta.MediaStorageSOPInstanceUID = uid.UID('1.2.3')
    meta.TransferSyntaxUID = getattr(uid, syntax)
    data = FileDataset('', {}, file_meta=meta, preamble=bytes(128))
    data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, '1.2.3'
    data.Rows, data.Columns = SIDE, SIDE + 8
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, 'MONOCHROME2'
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 12, 11, 0
    data.RescaleSlope, data.RescaleIntercept = 2, -1000
    data.WindowCenter, data.WindowWidth, data.PixelPaddingValue = 40, 400, 0
    data.PixelData = (gray('uint16') >> 4).tobytes() + bytes(zeros)
    data['PixelData'].VR = 'OW'
    if compress:
        data.compress(getattr(uid, compress))
    return written(lambda file: pydicom.dcmwrite(file, data))


def _animation(kind: str) -> bytes:
    frames = [Image.fromarray(np.roll(pixels(), 4 * i, 1)) for i in range(3)]
    return pillow(kind, frames[0], save_all=True, append_images=frames[1:], duration=20)


def _palette() -> Image.Image:
    return Image.fromarray(pixels()).quantize(16)


IMAGES: dict[str, tuple[str, Callable[[], list[bytes]]]] = {
    'jpeg': (
        '.jpg',
        lambda: [pillow('JPEG'), pillow('JPEG', subsampling=0, restart_marker_rows=1)],
    ),
    'jpeg-exif-icc': ('.jpg', lambda: [pillow('JPEG', **metadata())]),
    'jpeg-progressive': ('.jpg', lambda: [pillow('JPEG', progressive=True)]),
    'jpeg-gray-cmyk': (
        '.jpg',
        lambda: [
            pillow('JPEG', Image.fromarray(gray())),
            pillow('JPEG', Image.fromarray(pixels()).convert('CMYK')),
        ],
    ),
    'png': ('.png', lambda: [pillow('PNG'), pillow('PNG', Image.fromarray(pixels(4)))]),
    'png-16': ('.png', lambda: [pillow('PNG', Image.fromarray(gray('uint16')))]),
    'png-palette': (
        '.png',
        lambda: [pillow('PNG', _palette()), pillow('PNG', _palette(), transparency=3)],
    ),
    'png-exif-icc': ('.png', lambda: [pillow('PNG', **metadata())]),
    'png-bits': ('.png', lambda: [pillow('PNG', Image.fromarray(gray()).convert('1'))]),
    'webp': ('.webp', lambda: [pillow('WEBP'), pillow('WEBP', lossless=True, **metadata())]),
    'webp-animated': ('.webp', lambda: [_animation('WEBP')]),
    'avif': ('.avif', lambda: [pillow('AVIF', speed=10), pillow('AVIF', speed=10, **metadata())]),
    'gif': ('.gif', lambda: [pillow('GIF', _palette()), _animation('GIF')]),
    'bmp': ('.bmp', lambda: [pillow('BMP'), pillow('BMP', _palette())]),
    'ppm': ('.ppm', lambda: [pillow('PPM'), pillow('PPM', Image.fromarray(gray('uint16')))]),
    'jpeg2000': ('.jp2', lambda: [pillow('JPEG2000'), pillow('JPEG2000', irreversible=True)]),
    'tiff': (
        '.tif',
        lambda: [tiff(), tiff(gray()), tiff(byteorder='>'), pillow('TIFF', **metadata())],
    ),
    'tiff-pages': (
        '.tif',
        lambda: [
            tiff(gray(pages=3)),
            tiff(gray(pages=4), ome=True, metadata=dict(axes='CYX')),
            tiff(gray('uint16', pages=5), imagej=True, metadata=dict(axes='ZYX')),
        ],
    ),
    'tiff-planar': (
        '.tif',
        lambda: [
            tiff(pixels().transpose(2, 0, 1).copy(), photometric='rgb', planarconfig='separate'),
            tiff(pixels(5, 'uint16'), planarconfig='contig'),
        ],
    ),
    'tiff-16': ('.tif', lambda: [tiff(gray('uint16')), tiff(pixels(3, 'uint16'))]),
    'tiff-float': ('.tif', lambda: [tiff(gray('float32')), tiff(pixels(3, 'float64'))]),
    'tiff-lzw': (
        '.tif',
        lambda: [
            tiff(compression='lzw', predictor=True),
            pillow('TIFF', compression='tiff_lzw'),
        ],
    ),
    'tiff-deflate': (
        '.tif',
        lambda: [
            tiff(gray('uint16'), compression='zlib', predictor=True),
            pillow('TIFF', compression='tiff_adobe_deflate'),
        ],
    ),
    'tiff-zstd': (
        '.tif',
        lambda: [
            tiff(pixels(5), compression='zstd'),
            tiff(gray('uint16'), compression='zstd'),
        ],
    ),
    'tiff-jpeg': ('.tif', lambda: [tiff(compression='jpeg'), pillow('TIFF', compression='jpeg')]),
    'tiff-bits': (
        '.tif',
        lambda: [
            tiff(compression='packbits'),
            pillow('TIFF', Image.fromarray(gray()).convert('1'), compression='group4'),
        ],
    ),
    'tiff-tiled': (
        '.tif',
        lambda: [
            tiff(tile=(16, 16)),
            tiff(gray('uint16'), tile=(16, 32), compression='lzw'),
        ],
    ),
    'bigtiff': ('.tif', lambda: [tiff(bigtiff=True), tiff(pixels(6), bigtiff=True)]),
    'npy': ('.npy', lambda: [npy(pixels()), npy(gray('float32')), npy(pixels(5, 'uint16'))]),
    'npz': ('.npy', lambda: [written(lambda file: np.savez_compressed(file, pixels()))]),
    'dicom': ('.dcm', lambda: [dicom(), dicom('ImplicitVRLittleEndian')]),
    'dicom-compressed': (
        '.dcm',
        lambda: [dicom(compress='RLELossless'), dicom('DeflatedExplicitVRLittleEndian')],
    ),
}


def mutate_image(data: bytes, rng: random.Random) -> bytes:
    """Changed bytes; of half the PNGs with sums that are right, so that decoders go on."""
    data = damaged(data, rng)
    return mend_png(data) if data.startswith(b'\x89PNG') and rng.random() < 0.5 else data


def mend_png(data: bytes) -> bytes:
    """The file with the check sum that each chunk should have."""
    mended, start = data[:8], 8
    while start + 12 <= len(data):
        (length,) = struct.unpack_from('>I', data, start)
        chunk = data[start + 4 : start + 8 + length]
        mended += data[start : start + 4] + chunk + struct.pack('>I', zlib.crc32(chunk))
        start += 12 + length
    return mended + data[start:]


def refuses(read: Callable[[], Any], path: Path) -> bool:
    """Whether a reader refuses a file, and as it should: in one line with the path."""
    try:
        read()
    except ValueError as error:
        # Of a class of this package, or raised by it on purpose: it says what to do.
        if not is_user_error(error):
            raise
        if '\n' in str(error) or path.name not in str(error):
            raise AssertionError(f'not one line with the path: {error!r}') from error
        return True
    finally:
        lap()
    return False


def read_image(path: Path) -> None:
    """All readers of images, of which some return what is wrong instead of raising it."""
    header = read_header(str(path))
    lap()
    seen = inspect_file(str(path))
    lap()
    if '\n' in header.fault + seen.detail:
        raise AssertionError(f'not one line: {header} {seen}')
    for read in (
        lambda: load_mapped(path),
        lambda: load_segmentation_map(path, gray=True),
        lambda: load_painted_mask(path, (SIDE, SIDE)),
        lambda: LoadImage('unchanged', nodata='nan')(dict(img_path=str(path))),
    ):
        refuses(read, path)
    loader = LoadImage()
    loader.defers = True
    image = loader.transform(dict(img_path=str(path)))['img']
    height, width = image.shape[:2]
    if not isinstance(image, np.ndarray):
        image.crop((height // 4, width // 4, height // 2 + 1, width // 2 + 1), (8, 8))
        np.asarray(image)


def declared_size(path: Path) -> int:
    """Bytes of the array that a header announces, at four (float32) for a value."""
    content = path.read_bytes()
    with quiet_decoders():
        if content.startswith(b'\x93NUMPY'):
            file = io.BytesIO(content)
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0
            shape = (read if version == (1, 0) else np.lib.format.read_array_header_2_0)(file)[0]
            return 4 * int(np.prod(shape, dtype=object))
        if content[128:132] == b'DICM':
            import pydicom

            data = pydicom.dcmread(io.BytesIO(content), stop_before_pixels=True)
            return 4 * data.Rows * data.Columns * data.SamplesPerPixel
        sizes = [0]
        try:
            image = Image.open(io.BytesIO(content))
            sizes.append(4 * image.width * image.height * max(3, len(image.getbands())))
        except Exception:
            pass
        if content[:2] in (b'II', b'MM'):
            check_page_chain(content)
            with tifffile.TiffFile(io.BytesIO(content)) as file:
                sizes += [4 * int(np.prod(series.shape, dtype=object)) for series in file.series]
    return max(sizes)


def images() -> Iterator[Kind]:
    for name, (suffix, seeds) in IMAGES.items():
        yield Kind(
            f'images/{name}', suffix, lambda folder, seeds=seeds: seeds(), mutate_image, read_image,
            (UnreadableImage,), declared_size,
        )  # fmt: skip


# ---- checkpoints ----
ARCH = dict(embed_dims=8, depths=[1, 1, 1, 1], num_heads=[1, 2, 4, 8])
_ODD_TENSORS = (
    *(None, 0, -1, 1e30, float('nan'), 'text', '\udcff', b'\xff', [], [None], {}, {None: None}),
    *({'cfg': 3}, {'cfg': 'model = ('}, {'cfg': 'model = dict(backbone=3)'}, {'img_size': 'x'}),
    *(torch.zeros(0), torch.zeros(3, 0, 2), torch.tensor(1.0), torch.tensor([True])),
    torch.zeros(2, dtype=torch.complex64),
)


def stored() -> dict:
    """What training scripts write, with the weights of a tiny backbone."""
    torch.manual_seed(0)
    model = "model = dict(backbone=dict(type='MaskedSwin', arch='tiny'))"
    weights = MaskedSwin(ARCH).state_dict()
    return dict(
        model={f'backbone.{name}': tensor for name, tensor in weights.items()},
        epoch=3,
        config=dict(DATA=dict(IMG_SIZE=56), MODEL=dict(SWIN=dict(WINDOW_SIZE=7))),
        args=dict(img_size=56),
        meta=dict(cfg=model),
        optimizer=dict(state={0: dict(exp_avg=torch.zeros(3))}, param_groups=[dict(lr=1.0)]),
    )


def saved(value: Any, legacy: bool = False) -> bytes:
    return written(lambda file: torch.save(value, file, _use_new_zipfile_serialization=not legacy))


def safetensors() -> bytes:
    from safetensors.torch import save

    return save({name: tensor.contiguous() for name, tensor in stored()['model'].items()})


def mutate_record(data: bytes, rng: random.Random) -> bytes:
    """One record of the archive damaged, most often the pickle; the sums are right."""
    old = zipfile.ZipFile(io.BytesIO(data))
    names = old.namelist()
    chosen = rng.choice([names[0], names[0], rng.choice(names)])
    packing = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    file = io.BytesIO()
    with zipfile.ZipFile(file, 'w') as new:
        for name in names:
            content = old.read(name)
            new.writestr(name, damaged(content, rng) if name == chosen else content, packing)
    return file.getvalue()


def mutate_header(data: bytes, rng: random.Random) -> bytes:
    """Other values in the header of a safetensors file, of the right length."""
    length = int.from_bytes(data[:8], 'little')
    header = json.dumps(odd_values(json.loads(data[8 : 8 + length]), rng)).encode()
    return len(header).to_bytes(8, 'little') + header + data[8 + length :]


def read_checkpoint(path: Path) -> None:
    """All readers of checkpoints."""
    out = path.with_name('out.pth')
    refuses(lambda: convert_checkpoint(path, out, overwrite=True), path)
    refuses(lambda: read_source(path), path)
    refuses(lambda: read_pretrained('x', path), path)
    model = MaskedSwin(ARCH)
    refuses(lambda: load_backbone(model, path), path)
    load_weights(path)


def checkpoints() -> Iterator[Kind]:
    def odd(value: dict, rng: random.Random) -> bytes:
        return saved(odd_values(value, rng, _ODD_TENSORS), legacy=rng.random() < 0.3)

    for name, suffix, seeds, mutate in (
        ('zip', '.pth', lambda folder: [saved(stored())], damaged),
        ('zip-records', '.pth', lambda folder: [saved(stored())], mutate_record),
        ('legacy', '.pth', lambda folder: [saved(stored(), legacy=True)], damaged),
        ('values', '.pth', lambda folder: [stored()], odd),
        ('safetensors', '.safetensors', lambda folder: [safetensors()], damaged),
        ('safetensors-header', '.safetensors', lambda folder: [safetensors()], mutate_header),
    ):
        yield Kind(
            f'checkpoints/{name}', suffix, seeds, mutate, read_checkpoint, (CheckpointError,)
        )


# ---- annotations ----
def coco(folder: Path) -> list[dict]:
    """A json of two images, with polygons, run lengths and boxes alone."""
    folder.mkdir(exist_ok=True)
    for name in ('a.png', 'b.png'):
        (folder / name).write_bytes(pillow('PNG'))
    sizes = dict(height=SIDE, width=SIDE + 8)
    square = [[4.0, 4.0, 20.0, 4.0, 20.0, 18.0, 4.0, 18.0]]
    runs = dict(size=[SIDE, SIDE + 8], counts=[100, 50, SIDE * (SIDE + 8) - 150])
    packed = dict(size=[SIDE, SIDE + 8], counts='T3d0d0000000000Ra0')
    common = dict(area=200.0, iscrowd=0, bbox=[4.0, 4.0, 16.0, 14.0])
    shapes = (square, runs, packed, [])
    return [
        dict(
            info={},
            images=[dict(id=1, file_name='a.png', **sizes), dict(id=2, file_name='b.png', **sizes)],
            annotations=[
                dict(id=i, image_id=1 + i % 2, category_id=1 + i % 3, segmentation=shape, **common)
                for i, shape in enumerate(shapes * 2, 1)
            ],
            categories=[dict(id=i, name=name) for i, name in enumerate('xyz', 1)],
        )
    ]


def mutate_json(value: Any, rng: random.Random) -> bytes:
    """Other values, and of a third of them other bytes, too."""
    text = json.dumps(odd_values(value, rng)).encode()
    return damaged(text, rng) if rng.random() < 0.35 else text


def read_coco(path: Path) -> None:
    """As `scan --labels` and a training do; what is repaired has to be sound."""
    report = inspect_coco(path, path.parent)
    _ = [str(problem) for problem in report.problems]
    if not report.refused:
        repaired = path.with_name('repaired.json')
        report.write(repaired)
        if again := inspect_coco(repaired, path.parent).refused:
            raise AssertionError(f'refused after the repair: {again}')


def mutate_text(data: bytes, rng: random.Random) -> bytes:
    """Bytes, or lines, changed."""
    if rng.random() < 0.6:
        return damaged(data, rng)
    lines = data.splitlines(keepends=True)
    odd = (b'../../x\n', b'/etc\n', b'\xff\xfe\n', b'a\0b\n', b'"', b',' * 500, b's3://x/y\n')
    for _ in range(rng.randint(1, 4)):
        lines[rng.randrange(len(lines))] = rng.choice((*odd, b'', b'x' * 9000 + b'\n'))
    return b''.join(lines)


def maps(folder: Path) -> list[bytes]:
    """Segmentation maps: palette, gray, TIFF of 16 bits and of floats, npy, three channels."""
    classes = (gray() // 64).astype('uint8')
    palette = Image.fromarray(classes)
    palette.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255])
    return [
        pillow('PNG', palette),
        pillow('PNG', Image.fromarray(classes)),
        pillow('PNG', Image.fromarray(np.stack([classes] * 3, -1))),
        tiff(classes.astype('uint16') * 300),
        tiff(classes.astype('float64')),
        npy(classes.astype('int64')),
    ]


def read_map(path: Path) -> None:
    refuses(lambda: load_mapped(path, {'#000000': 0, '#ff0000': 1}), path)
    refuses(lambda: load_segmentation_map(path), path)
    load_mapped(path, {0: 255, 300: 1})


def listed(folder: Path) -> list[bytes]:
    coco(folder)
    return [b'# two images\na.png\n\nb.png\n' + b'a.png\n' * 8]


REPORT = b"""path,status,group,height,width,channels,detail
a.png,kept,,40,48,3,
"b, c.png",duplicate,a.png,40,48,3,
d.png,truncated,,0,0,0,image file is truncated
"""


def work_dir(folder: Path) -> list[dict]:
    """A work dir of a training, whose numbers are the file that is changed."""
    start = folder / 'work/20260101_000000/vis_data'
    start.mkdir(parents=True, exist_ok=True)
    (start / 'config.py').write_text("model = dict(type='MaskedImageModel')\n")
    return [
        {str(i): dict(step=i, loss=1 / (i + 1), lr=0.1, time=0.2, data_time=0.1) for i in range(9)}
    ]


def mutate_lines(value: dict, rng: random.Random) -> bytes:
    """Lines of JSON with other values and bytes."""
    lines = odd_values(value, rng)
    text = ''.join(json.dumps(line) + '\n' for line in lines.values()).encode()
    return damaged(text, rng) if rng.random() < 0.35 else text


def read_work_dir(path: Path) -> None:
    work = path.parent / 'work'
    (work / '20260101_000000/vis_data/scalars.json').write_bytes(path.read_bytes())
    try:
        write_run_report(work, path.with_name('page.html'))
    except DataError as error:
        raise DataError(f'{path.name}: {error}') from error


def shards(name: str) -> Callable[[Path], list[bytes]]:
    """Of a folder of shards, the file that is changed."""

    def seeds(folder: Path) -> list[bytes]:
        coco(folder / 'images')
        shard_folder(str(folder / 'images'), str(folder / _of(name)), images=2)
        (folder / _of(name) / 'settings.json').unlink()
        seed = (folder / _of(name) / name).read_bytes()
        if name.endswith('.tar'):  # those of others have no index
            (folder / _of(name) / 'shard-000000.tsv').unlink()
        if name != 'manifest.json':
            (folder / _of(name) / 'manifest.json').unlink()
        return [seed]

    return seeds


def _of(name: str) -> str:
    return f'shards-{Path(name).suffix[1:]}'


def read_shards(path: Path, name: str) -> None:
    """As a training and `simmim shard --check` do."""
    folder = path.parent / _of(name)
    (folder / name).write_bytes(path.read_bytes())
    try:
        for image in list_images(str(folder)):
            with suppress(UnreadableImage):
                LoadImage()(dict(img_path=image))
        if name == 'manifest.json':
            check_shards(str(folder))
    except DataError as error:
        raise DataError(f'{path.name}: {error}') from error


def annotations() -> Iterator[Kind]:
    errors = (DataError,)
    for name, mutate in (
        ('manifest.json', lambda seed, rng: mutate_json(json.loads(seed), rng)),
        ('shard-000000.tsv', mutate_text),
        ('shard-000000.tar', damaged),
    ):
        read = partial(read_shards, name=name)
        suffix = Path(name).suffix
        yield Kind(f'annotations/{_of(name)}', suffix, shards(name), mutate, read, errors)
    yield Kind('annotations/coco', '.json', coco, mutate_json, read_coco, errors)
    yield Kind(
        'annotations/list', '.txt', listed, mutate_text,
        lambda path: read_list(str(path), str(path.parent), 0.5), errors,
    )  # fmt: skip
    yield Kind('annotations/maps', '.png', maps, mutate_image, read_map, errors, declared_size)
    yield Kind(
        'annotations/scan-report', '.csv', lambda folder: [REPORT], mutate_text, read_report, errors
    )
    yield Kind('annotations/scalars', '.json', work_dir, mutate_lines, read_work_dir, errors)


# ---- configs ----
def run_config() -> Config:
    """Of a pretraining of a tiny model."""
    steps = [
        dict(type='LoadImage'),
        dict(type='RandomResizedCrop', scale=32, crop_ratio_range=(0.2, 1.0)),
        dict(type='RandomBlockMask', mask_patch_size=16, mask_ratio=0.5),
        dict(type='mmpretrain.PackInputs', algorithm_keys=['mask']),
    ]
    arch = dict(embed_dims=16, num_layers=1, num_heads=2, feedforward_channels=32)
    return Config(
        dict(
            default_scope='simmim_mm',
            custom_imports=dict(imports=['simmim_mm'], allow_failed_imports=False),
            model=dict(
                type='MaskedImageModel',
                backbone=dict(type='MaskedViT', arch=arch, img_size=32, patch_size=8),
                neck=dict(type='PixelShuffleDecoder'),
                head=dict(type='PixelHead'),
                data_preprocessor=dict(type='MIMDataPreprocessor', mean=[0.0] * 3, std=[1.0] * 3),
            ),
            train_dataloader=dict(dataset=dict(type='ImageDataset', pipeline=steps)),
        )
    )


def with_config(folder: Path) -> list[dict]:
    """The config, and weights of its model."""
    init_default_scope('simmim_mm')
    cfg = run_config()
    torch.manual_seed(0)
    return [dict(cfg=cfg.to_dict(), state_dict=MODELS.build(cfg.model).state_dict())]


def mutate_stored(seed: dict, rng: random.Random) -> bytes:
    """A checkpoint whose config has other values or, of half of them, other text."""
    cfg = odd_values(seed['cfg'], rng) if rng.random() < 0.7 else seed['cfg']
    text = ''.join(f'{name} = {value!r}\n' for name, value in cfg.items())
    if rng.random() < 0.2:
        text = damaged(text.encode(), rng).decode('latin-1')
    return saved(dict(meta=dict(cfg=text), state_dict=seed['state_dict']))


def read_stored(path: Path) -> None:
    read_pretrained('x', path)
    refuses(lambda: FeatureExtractor.from_checkpoint(path), path)
    refuses(lambda: read_source(path), path)
    Reconstructor.from_checkpoint(path)


def mutate_config(cfg: dict, rng: random.Random) -> bytes:
    """A config file, cut or with a sign too many: nothing in it does anything."""
    text = ''.join(f'{name} = {value!r}\n' for name, value in odd_values(cfg, rng).items())
    i = rng.randrange(len(text))
    return (text[:i] + rng.choice(('', '(', '\n', "'", ' ', '\0', '\xff', ']')) + text[i:]).encode(
        rng.choice(('utf-8', 'utf-8', 'latin-1'))
    )


def configs() -> Iterator[Kind]:
    yield Kind(
        'configs/stored', '.pth', with_config, mutate_stored, read_stored, (CheckpointError,)
    )
    yield Kind(
        'configs/file', '.py', lambda folder: [run_config().to_dict()], mutate_config, load_config,
        (ConfigError,),
    )  # fmt: skip


KINDS: list[Kind] = [*images(), *checkpoints(), *annotations(), *configs()]
