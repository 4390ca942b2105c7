import pytest

from simmim_mm.datasets import DataError
from simmim_mm.datasets.readers.class_folders import (
    check_class_folders,
    load_class_folders,
    nested_groups,
)


@pytest.fixture
def root(tmp_path):
    for name in ('dog/1.png', 'dog/sub/0.JPG', 'cat/2.webp', 'cat/notes.txt', '.cache/3.png'):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b'x')
    return tmp_path


def test_images_class_by_class(root):
    found = load_class_folders(root)
    assert found.classes == ('cat', 'dog') and found.labels == [0, 1, 1]
    assert found.paths == [
        str(root / name) for name in ('cat/2.webp', 'dog/1.png', 'dog/sub/0.JPG')
    ]


def test_folders_without_an_image_are_named(root):
    with pytest.raises(DataError, match=r"in 1 of 2 class folders of .*: 'cat'; looked for .jpg"):
        load_class_folders(root, extensions=('.jpg', '.png'))
    check_class_folders(str(root), ['dog'], ('.jpg',))
    (root / 'bird').mkdir()
    with pytest.raises(DataError, match=r"in 2 of 3 class folders of .*: 'bird', 'cat'; .*Fill or"):
        check_class_folders(str(root), ['bird', 'cat', 'dog'], ('.png',))


def test_roots_that_hold_no_classes(root):
    with pytest.raises(DataError, match=r'no folder .*nowhere'):
        load_class_folders(root / 'nowhere')
    with pytest.raises(DataError, match=r'dog has 1 class folders: at least 2'):
        load_class_folders(root / 'dog')


def test_folders_that_are_no_classes(root):
    with pytest.raises(DataError, match=r'hidden folders, which would be classes: \.cache; delete'):
        check_class_folders(str(root), ['cat', 'dog', '.cache'], ('.png',))
    for name in ('train', 'Val'):
        (root / 'data' / name).mkdir(parents=True)
        (root / 'data' / name / '0.png').write_bytes(b'x')
    with pytest.raises(DataError, match=r'data are Val, train: these are parts of a data set'):
        load_class_folders(root / 'data')


def test_groups_of_folders():
    paths = ['cat/0.png', 'cat/old/0.png', 'dog/a/0.png', 'bird/a/0.png', 'bird/b/c/0.png']
    assert nested_groups(paths) == ['bird']
