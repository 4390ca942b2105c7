import numpy as np
import pytest
from PIL import Image

from simmim_mm.datasets import DataError
from simmim_mm.datasets.readers.segmentation_maps import load_segmentation_map

VALUES = np.random.default_rng(0).integers(0, 5, (4, 6), dtype=np.uint8)


def saved(tmp_path, image, name='a.png'):
    image.save(tmp_path / name)
    return tmp_path / name


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
def test_values_are_those_stored(tmp_path, dtype):
    values = VALUES.astype(dtype) * (1 if dtype == np.uint8 else 300)
    found = load_segmentation_map(saved(tmp_path, Image.fromarray(values)))
    np.testing.assert_array_equal(found, values)
    assert found.dtype == dtype


def test_a_palette_image_gives_its_indices(tmp_path):
    image = Image.fromarray(VALUES, 'P')
    image.putpalette([200, 10, 10, 0, 0, 0, 9, 9, 9, 1, 2, 3, 4, 5, 6])
    np.testing.assert_array_equal(load_segmentation_map(str(saved(tmp_path, image))), VALUES)


def test_gray_that_is_stored_with_colors(tmp_path):
    path = saved(tmp_path, Image.fromarray(VALUES).convert('RGB'))
    np.testing.assert_array_equal(load_segmentation_map(path, gray=True), VALUES)
    with pytest.raises(DataError, match=r'a\.png has 3 channels, not one'):
        load_segmentation_map(path)


@pytest.mark.parametrize(
    ('content', 'message'), [(None, 'No such file'), (b'text', 'it is damaged, or no image')]
)
def test_files_that_cannot_be_read(tmp_path, content, message):
    if content is not None:
        (tmp_path / 'a.png').write_bytes(content)
    with pytest.raises(DataError, match=rf'a\.png cannot be read \({message}'):
        load_segmentation_map(tmp_path / 'a.png')
