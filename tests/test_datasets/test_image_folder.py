import os

import pytest

from simmim_mm.datasets import DataError
from simmim_mm.datasets.image_folder import list_images


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b'x')


def found(root, **kwargs):
    return [os.path.relpath(path, root) for path in list_images(str(root), **kwargs)]


def test_nested_folders_any_case_sorted_and_nothing_hidden(tmp_path):
    touch(tmp_path, 'b/2.JPG', 'b/1.Png', 'a/c/d/3.tiff', '0.webp', 'z.npy')
    touch(tmp_path, '._0.webp', '.cache/x.jpg', 'a/._3.tiff', 'notes.txt', 'archive.jpg.zip', 'jpg')
    assert found(tmp_path) == ['0.webp', 'a/c/d/3.tiff', 'b/1.Png', 'b/2.JPG', 'z.npy']


def test_a_folder_may_be_a_path(tmp_path):
    touch(tmp_path, 'b/1.png', 'a.jpg')
    assert list_images(tmp_path) == [str(tmp_path / 'a.jpg'), str(tmp_path / 'b' / '1.png')]


def test_a_hidden_root_is_fine(tmp_path):
    touch(tmp_path, '.data/a.jpg')
    assert found(tmp_path / '.data') == ['a.jpg']


def test_links_are_followed_once_and_dangling_ones_listed(tmp_path):
    root = tmp_path / 'root'
    touch(tmp_path, 'elsewhere/1.jpg', 'root/0.jpg', 'root/sub/2.jpg')
    (root / 'linked').symlink_to(tmp_path / 'elsewhere')
    (root / 'sub' / 'loop').symlink_to(root)
    (root / 'again').symlink_to(tmp_path / 'elsewhere')
    (root / 'file.jpg').symlink_to(root / '0.jpg')
    (root / 'gone.jpg').symlink_to(root / 'nowhere.jpg')
    expected = ['0.jpg', 'again/1.jpg', 'file.jpg', 'gone.jpg', 'sub/2.jpg']
    assert found(root) == expected


def test_a_named_pipe_is_not_an_image(tmp_path):
    touch(tmp_path, 'a.jpg')
    os.mkfifo(tmp_path / 'pipe.jpg')
    (tmp_path / 'link.jpg').symlink_to('pipe.jpg')  # opening it would wait for ever
    assert found(tmp_path) == ['a.jpg']


def test_a_link_to_itself_is_a_missing_file(tmp_path):
    touch(tmp_path, 'a.jpg')
    (tmp_path / 'b.jpg').symlink_to('b.jpg')
    assert found(tmp_path) == ['a.jpg', 'b.jpg']


def test_exclude_and_extensions(tmp_path):
    touch(tmp_path, 'a.jpg', 'a_mask.png', 'val/b.jpg', 'train/val/c.jpg', 'd.raw')
    assert found(tmp_path, exclude=['*_mask.png', 'val']) == ['a.jpg', 'train/val/c.jpg']
    assert found(tmp_path, extensions=['.raw']) == ['d.raw']


@pytest.mark.parametrize(
    ('prepare', 'root', 'message'),
    [
        (lambda p: None, 'no/such', r"no folder '.*no/such' \('.*' is the part of it that"),
        (lambda p: touch(p, 'a.txt'), 'a.txt', 'is a file, not a folder.*ann_file'),
        (lambda p: (p / 'x').mkdir(), 'x', r'looked for \.jpg .*no other files'),
        (lambda p: touch(p, 'x/a.txt', 'x/b.txt', 'x/c'), 'x', r'3 other .*2 x \.txt, 1 x no ext'),
    ],
)
def test_errors_name_the_value_and_the_fix(tmp_path, prepare, root, message):
    prepare(tmp_path)
    with pytest.raises(DataError, match=message) as caught:
        list_images(str(tmp_path / root))
    assert str(tmp_path) in str(caught.value)


def test_a_remote_folder_is_refused_with_the_way_out():
    with pytest.raises(DataError, match=r'simmim shard.*ann_file'):
        list_images('memory://bucket/photos')
    with pytest.raises(DataError, match=r'data_root .*a remote folder'):
        list_images('petrel://bucket/photos')


def test_excluding_everything_says_so(tmp_path):
    touch(tmp_path, 'a.jpg')
    with pytest.raises(DataError, match='1 files or folders were left out by exclude'):
        list_images(str(tmp_path), exclude=['*'])


def test_dicom_files_are_listed_where_there_is_nothing_else(tmp_path):
    (tmp_path / 'a.dcm').touch()
    (tmp_path / 'b.DCM').touch()
    assert len(list_images(str(tmp_path))) == 2
    with pytest.raises(DataError):
        list_images(str(tmp_path), extensions='.png')
    (tmp_path / 'a.png').touch()
    assert list_images(str(tmp_path)) == [str(tmp_path / 'a.png')]
