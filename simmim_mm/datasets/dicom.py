"""DICOM files, by pydicom, which the extra ``formats`` installs."""

import io
import zlib
from typing import Any, NamedTuple

import numpy as np

from simmim_mm.datasets.errors import UnsupportedImage
from simmim_mm.datasets.limits import check_size, most_bytes

DICOM_EXTENSIONS = ('.dcm', '.dicom')
DICOM_HELP = (
    "needs pydicom: pip install 'simmim_mm[formats]'; or convert DICOM to TIFF or .npy beforehand"
)
_DEFLATED = b'1.2.840.10008.1.2.1.99'
_LONG = (b'OB', b'OW', b'OF', b'OD', b'OL', b'OV', b'SQ', b'UC', b'UN', b'UR', b'UT', b'SV', b'UV')


class DicomImage(NamedTuple):
    """Values of the modality, such as Hounsfield units, bright where much is absorbed.

    Attributes:
        array: ``(H, W)``, or ``(H, W, C)`` of color.
        nodata: The padding value, if the file declares one.
        window: Lowest and highest value of the window that the file suggests.
    """

    array: np.ndarray
    nodata: float | None
    window: tuple[float, float] | None


def is_dicom(content: bytes) -> bool:
    """Whether the bytes of a file begin as those of DICOM."""
    return content[128:132] == b'DICM'


def decode_dicom(content: bytes, max_pixels: int | None = None) -> DicomImage:
    """Decode a file of one frame: rescaled, and inverted if it is ``MONOCHROME1``.

    Args:
        content: The file.
        max_pixels: Refuse larger images before decoding them; None: no limit.

    Raises:
        UnsupportedImage: If pydicom is not installed, or the file is too large or holds several
            frames.
        ValueError: If the content is damaged, or its codec is not installed.
    """
    try:
        import pydicom  # type: ignore[import-not-found]  # an extra
    except ImportError:
        raise UnsupportedImage(f'is DICOM, which {DICOM_HELP}') from None

    try:
        if max_pixels is not None:
            _check_deflated(content, most_bytes(max_pixels, len(content)))
        data = pydicom.dcmread(io.BytesIO(content))
        bits = int(data.BitsAllocated) * int(data.SamplesPerPixel)
        height, width = int(data.Rows), int(data.Columns)
        check_size(height, width, max_pixels, height * width * bits // 8, len(content))
        raw = None if int(data.get('NumberOfFrames') or 1) > 1 else data.pixel_array
    except UnsupportedImage:
        raise
    except Exception as error:  # pydicom and its codecs raise everything
        raise ValueError(
            f'DICOM that cannot be decoded: {error}; export it again, or convert it to TIFF or .npy'
        ) from error
    if raw is None:
        raise UnsupportedImage(
            f'holds {data.NumberOfFrames} frames: save each in a file of its own'
        )
    slope = float(data.get('RescaleSlope') or 1)
    intercept = float(data.get('RescaleIntercept') or 0)
    as_stored = (slope, intercept) == (1, 0)
    inverted = data.PhotometricInterpretation == 'MONOCHROME1'
    ends = -1 if data.PixelRepresentation else 2**data.BitsStored - 1  # lowest plus highest value

    def rescale(stored: np.ndarray) -> np.ndarray:
        stored = ends - stored if inverted else stored
        return stored if as_stored else stored.astype(np.float32) * slope + np.float32(intercept)

    padding = data.get('PixelPaddingValue')
    nodata = None if padding is None else float(rescale(np.array(int(padding))))
    window = None
    if data.get('WindowCenter') is not None and data.get('WindowWidth') is not None:
        center, width = (_first(data.WindowCenter), _first(data.WindowWidth))
        center = slope * ends + 2 * intercept - center if inverted else center
        window = (center - width / 2, center + width / 2)
    return DicomImage(rescale(raw), nodata, window)


def _check_deflated(content: bytes, most: int) -> None:
    """Refuse a file whose data, packed as a whole, are longer than ``most`` bytes.

    pydicom unpacks them before it looks at anything.
    """
    end = 132
    while content[end : end + 2] == b'\2\0':  # the first group, which is never packed
        long = content[end + 4 : end + 6] in _LONG
        length = content[end + 8 : end + 12] if long else content[end + 6 : end + 8]
        end += (12 if long else 8) + int.from_bytes(length, 'little')
    if _DEFLATED in content[132:end]:
        packed = zlib.decompressobj(-zlib.MAX_WBITS)
        packed.decompress(content[end:], most)
        if packed.unconsumed_tail:
            raise UnsupportedImage(f'unpacks to more than {most / 1e9:.1f} GB')


def _first(value: Any) -> float:
    """A number, or the first of several windows."""
    return float(value[0] if hasattr(value, '__len__') else value)
