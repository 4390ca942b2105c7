"""The generated data: reproducible, consistent with each other, and not solvable by color."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from simmim_mm.datasets.errors import DataError
from simmim_mm.experiments.shapes import CLASSES, write_shapes

SIZE = 64


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    out = tmp_path_factory.mktemp('shapes') / 'data'
    write_shapes(out, train=40, val=40, unlabeled=5, size=SIZE, seed=3)
    return out


def contents(folder: Path) -> dict:
    files = (path for path in folder.rglob('*') if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def decode(segmentation: dict) -> np.ndarray:
    counts = segmentation['counts']
    runs = np.repeat(np.arange(len(counts)) % 2, counts)
    return runs.reshape(segmentation['size'], order='F').astype(bool)


def test_equal_arguments_give_equal_bytes(root, tmp_path):
    write_shapes(tmp_path / 'again', train=40, val=40, unlabeled=5, size=SIZE, seed=3)
    assert contents(tmp_path / 'again') == contents(root)


def test_more_images_leave_the_others_and_another_seed_changes_all(root, tmp_path):
    write_shapes(tmp_path / 'more', train=44, val=40, unlabeled=6, size=SIZE, seed=3)
    write_shapes(tmp_path / 'other', train=40, val=40, unlabeled=5, size=SIZE, seed=4)
    before, more, other = map(contents, (root, tmp_path / 'more', tmp_path / 'other'))
    images = [name for name in before if name.endswith('.png')]
    assert all(more[name] == before[name] for name in images)
    assert not any(other[name] == before[name] for name in images if 'semantic' not in name)
    pixels = [data for name, data in before.items() if name in images and 'semantic' not in name]
    assert len(set(pixels)) == len(pixels)  # between splits and layouts, too


def test_boxes_masks_and_label_maps_agree(root):
    for split, count in (('train', 40), ('val', 40)):
        coco = json.loads((root / f'annotations/instances_{split}.json').read_text())
        assert [c['name'] for c in coco['categories']] == list(CLASSES)
        assert len(coco['images']) == count
        for image in coco['images']:
            assert (root / 'images' / split / image['file_name']).is_file()
            labels = np.zeros((SIZE, SIZE), np.uint8)
            objects = [a for a in coco['annotations'] if a['image_id'] == image['id']]
            assert 1 <= len(objects) <= 4
            for item in objects:
                mask = decode(item['segmentation'])
                assert not labels[mask].any()  # every pixel belongs to one object
                labels[mask] = item['category_id']
                y, x = np.nonzero(mask)
                left, top, width, height = item['bbox']
                assert (left, top) == (x.min(), y.min())
                assert (left + width, top + height) == (x.max() + 1, y.max() + 1)
                assert item['area'] == mask.sum() >= 30
            stored = root / 'semantic' / split / image['file_name']
            stored = cv2.imread(str(stored), cv2.IMREAD_UNCHANGED)
            np.testing.assert_array_equal(stored, labels)
        assert len({a['category_id'] for a in coco['annotations']}) == 4


def test_masks_are_where_the_object_is(root):
    """Along the outline of a mask the image changes more than elsewhere."""
    coco = json.loads((root / 'annotations/instances_train.json').read_text())
    on, off = [], []
    for image in coco['images']:
        pixels = cv2.imread(str(root / 'images/train' / image['file_name'])).astype(float)
        labels = cv2.imread(str(root / 'semantic/train' / image['file_name']), 0)
        step = np.abs(np.diff(cv2.GaussianBlur(pixels, (5, 5), 0), axis=1)).sum(-1)
        outline = np.diff(labels.astype(int), axis=1) != 0
        on.append(step[outline].mean())
        off.append(step[~outline].mean())
    assert np.mean(on) > 2 * np.mean(off)


def test_run_lengths_are_those_of_coco(root):
    mask_utils = pytest.importorskip('pycocotools.mask')
    coco = json.loads((root / 'annotations/instances_train.json').read_text())
    for item in coco['annotations'][:20]:
        code = mask_utils.frPyObjects(item['segmentation'], SIZE, SIZE)
        np.testing.assert_array_equal(mask_utils.decode(code), decode(item['segmentation']))
        assert mask_utils.toBbox(code).tolist() == item['bbox']


def test_classes_take_turns_and_color_does_not_tell_them(root):
    from sklearn.linear_model import LogisticRegression

    def colors(split):
        pairs = []
        for label, name in enumerate(CLASSES):
            for path in (root / 'classification' / split / name).iterdir():
                image = cv2.imread(str(path)).reshape(-1, 3) / 255
                pairs.append((np.concatenate([image.mean(0), image.std(0)]), label))
        return map(np.array, zip(*pairs))

    (x, y), (x_val, y_val) = colors('train'), colors('val')
    assert np.bincount(y).tolist() == [10] * 4 and np.bincount(y_val).tolist() == [10] * 4
    accuracy = LogisticRegression().fit(x, y).score(x_val, y_val)
    assert accuracy < 0.5, accuracy  # chance is 0.25


def test_an_existing_folder(root, tmp_path):
    before = {path: path.stat().st_mtime_ns for path in root.rglob('*')}
    write_shapes(root, train=40, val=40, unlabeled=5, size=SIZE, seed=3)  # done already
    assert before == {path: path.stat().st_mtime_ns for path in root.rglob('*')}
    with pytest.raises(DataError, match='holds other files'):
        write_shapes(root, train=41, val=40, unlabeled=5, size=SIZE, seed=3)
    with pytest.raises(DataError, match='size=16'):
        write_shapes(tmp_path / 'small', size=16)
