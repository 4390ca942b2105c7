import io

import numpy as np
import pytest
from PIL import Image


def _jpeg(seed: int, size: tuple = (48, 40)) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, 'JPEG')
    return file.getvalue()


@pytest.fixture
def folder(tmp_path):
    """Fourteen good images in nested folders."""
    root = tmp_path / 'photos'
    for i in range(14):
        path = root / f'class{i % 3}' / f'{i:02d}.jpg'
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_jpeg(i))
    return root


@pytest.fixture
def bad_files(folder):
    """One file of each bad kind, added to ``folder``; their paths, sorted."""
    zero_pixels = io.BytesIO()
    np.save(zero_pixels, np.zeros((0, 7, 3), dtype=np.uint8))
    contents = {
        'class0/truncated.jpg': _jpeg(99)[:700],
        'class1/empty.png': b'',
        'class2/text.jpg': b'<html>404 not found</html>',
        'class2/zero_pixels.npy': zero_pixels.getvalue(),
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return [str(folder / name) for name in contents]
