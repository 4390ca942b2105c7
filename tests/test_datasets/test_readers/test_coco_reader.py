import json

import pytest

from simmim_mm.datasets import DataError
from simmim_mm.datasets.readers.coco import load_coco

IMAGES = [dict(id=7, file_name='a.jpg', height=4, width=5), dict(id=8, file_name='b.jpg')]
OBJECTS = [dict(id=1, image_id=7, category_id=3, bbox=[0, 1, 2, 3])]
CATEGORIES = [dict(id=3, name='cat')]


def write(tmp_path, **changes):
    content = dict(images=IMAGES, annotations=OBJECTS, categories=CATEGORIES, info='x')
    content.update(changes)
    path = tmp_path / 'a.json'
    path.write_text(json.dumps({key: value for key, value in content.items() if value != 'none'}))
    return path


def test_contents(tmp_path):
    coco = load_coco(write(tmp_path), annotations=('id', 'bbox', 'image_id'))
    assert (coco.images, coco.annotations, coco.categories) == (IMAGES, OBJECTS, CATEGORIES)
    assert coco.others == dict(info='x')
    assert coco.is_utf8
    boxes = load_coco(str(write(tmp_path, categories='none')), categories=())
    assert boxes.annotations == OBJECTS and boxes.categories == []


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(images='none'), "no list 'images': it is not a COCO annotation file"),
        (dict(categories={}), "no list 'categories'"),
        (dict(annotations=[]), 'no annotations: the list is empty; is it'),
        (dict(annotations=[7]), r'annotations\[0\] has no image_id'),
        (dict(images=[dict(id=7)]), r'images\[0\] has no file_name'),
        (
            dict(images=2 * IMAGES),
            r'image ids are given to several entries: 7, 8 .*keep one of them; else .*image_id',
        ),
        (dict(annotations=[dict(OBJECTS[0], image_id=9)]), 'images that it does not list: ids 1'),
        (dict(annotations=[dict(OBJECTS[0], image_id=[7])]), r'annotations\[0\].image_id is \[7\]'),
        (dict(images=[dict(id=7, file_name=None)]), r'images\[0\].file_name is None'),
    ],
)
def test_faults_are_named_with_the_file(tmp_path, changes, message):
    with pytest.raises(DataError, match=rf'a\.json: .*{message}'):
        load_coco(write(tmp_path, **changes), annotations=('image_id', 'category_id', 'bbox'))


def test_an_encoding_that_pycocotools_does_not_read(tmp_path):
    path = write(tmp_path)
    for encoding in ('utf-8-sig', 'utf-16'):
        path.write_bytes(path.read_text().encode(encoding))
        coco = load_coco(path)
        assert coco.images == IMAGES and not coco.is_utf8
        write(tmp_path)


@pytest.mark.parametrize(
    'changes', [dict(annotations=[]), dict(annotations=[dict(OBJECTS[0], image_id=9)])]
)
def test_images_without_objects_are_all_right_where_nothing_is_learned(tmp_path, changes):
    assert load_coco(write(tmp_path, **changes), strict=False).images == IMAGES


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (None, r'there is no file .*a\.json'),
        (b'', r'a\.json is empty'),
        (b'{"images": [', r'a\.json is not JSON'),
        (b'\xff\xfe\xfa', r'a\.json is not JSON'),
    ],
)
def test_files_that_cannot_be_read(tmp_path, content, message):
    if content is not None:
        (tmp_path / 'a.json').write_bytes(content)
    with pytest.raises(DataError, match=message):
        load_coco(tmp_path / 'a.json')
    with pytest.raises(DataError, match='is a folder: name the json file in it'):
        load_coco(tmp_path)


def test_ids_that_differ_in_their_type_alone_are_matched(tmp_path):
    objects = [dict(OBJECTS[0], image_id='7', category_id='3'), dict(OBJECTS[0], id=2)]
    coco = load_coco(write(tmp_path, annotations=objects))
    assert coco.annotations == [OBJECTS[0], dict(OBJECTS[0], id=2)]
    assert coco.matched == dict(image_id=[0], category_id=[0])
    named = [dict(IMAGES[0], id='7'), dict(IMAGES[1], id='x')]
    coco = load_coco(write(tmp_path, images=named))
    assert coco.annotations[0]['image_id'] == '7'
    both = [*IMAGES, dict(IMAGES[0], id='7')]  # then nobody can tell
    assert load_coco(write(tmp_path, images=both)).matched['image_id'] == []
