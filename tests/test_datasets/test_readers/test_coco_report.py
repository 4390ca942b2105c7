"""Everything that is wrong in a COCO json is counted; what has one right answer is repaired."""

import json
import logging

import numpy as np
import pytest
from mmengine.logging import MMLogger
from PIL import Image

from simmim_mm.datasets.errors import DataError
from simmim_mm.datasets.readers.coco import load_coco
from simmim_mm.datasets.readers.coco_boxes import check_boxes
from simmim_mm.datasets.readers.coco_files import check_files
from simmim_mm.datasets.readers.coco_objects import check_crowds, check_masks, repair_fields
from simmim_mm.datasets.readers.coco_report import REFUSED, REPAIRED, CocoReport

WIDTH, HEIGHT = 100, 80


def sound():
    """Five images of two objects: one in the upper left, one in the lower right."""
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for i in range(1, 6):
        images.append(dict(id=i, file_name=f'{i}.png', width=WIDTH, height=HEIGHT))
        for k in range(2):
            x, y = (int(n) + 55 * k for n in rng.integers(2, 10, 2))
            w, h = (int(n) for n in rng.integers(8, 15, 2))
            corners = [x, y, x + w, y, x + w, y + h, x, y + h]
            annotations.append(
                dict(id=2 * i + k, image_id=i, category_id=1 + k, bbox=[x, y, w, h])
                | dict(area=w * h, iscrowd=0, segmentation=[corners])
            )
    categories = [dict(id=1, name='a'), dict(id=2, name='b')]
    return dict(info={}, images=images, annotations=annotations, categories=categories)


def check(tmp_path, content) -> CocoReport:
    path = tmp_path / 'a.json'
    path.write_text(json.dumps(content))
    report = CocoReport(str(path), load_coco(path, annotations=('image_id', 'bbox')))
    check_boxes(report)
    check_crowds(report)
    check_masks(report, 'give them')
    repair_fields(report)
    return report


def found(report):
    return {problem.what: (problem.outcome, problem.count) for problem in report.problems}


def boxes(change):
    def spoil(content):
        for annotation in content['annotations']:
            annotation['bbox'] = change(*annotation['bbox'])

    return spoil


def swap_axes(content):
    """Boxes with the row before the column; the objects are moved away from the diagonal."""
    for annotation in content['annotations']:
        x, y, w, h = annotation['bbox']
        (corners,) = annotation['segmentation']
        annotation['segmentation'] = [[n + 25 * (i % 2 == 0) for i, n in enumerate(corners)]]
        annotation['bbox'] = [y, x + 25, h, w]


def first(**values):
    return lambda content: content['annotations'][0].update(values)


def test_sound_data_have_no_problem(tmp_path):
    report = check(tmp_path, sound())
    assert report.problems == [] and not report.repaired
    report.conclude()


@pytest.mark.parametrize(
    ('spoil', 'count', 'message'),
    [
        (boxes(lambda x, y, w, h: [x, y, x + w, y + h]), 10, 'two corners.*right - left'),
        (boxes(lambda x, y, w, h: [x + w / 2, y + h / 2, w, h]), 10, 'center and size: only so'),
        (swap_axes, 10, 'rows before columns: only so they fit'),
        (
            boxes(lambda x, y, w, h: [(x + w / 2) / WIDTH, (y + h / 2) / HEIGHT, w / 99, h / 79]),
            10,
            r'fractions of their image.*multiply .* height; write \[x - width / 2',
        ),
        (
            boxes(lambda x, y, w, h: [x / WIDTH, y / HEIGHT, w / WIDTH, h / HEIGHT]),
            10,
            'fractions of their image',
        ),
        (
            boxes(lambda x, y, w, h: [x / WIDTH, y / HEIGHT, (x + w) / WIDTH, (y + h) / HEIGHT]),
            10,
            'fractions of their image',
        ),
        (boxes(lambda x, y, w, h: [x + 200, y, w, h]), 10, f'{WIDTH} x {HEIGHT} pixels now'),
        (boxes(lambda x, y, w, h: [x - 30, y, w, h]), 5, 'mostly outside'),
        (boxes(lambda x, y, w, h: [x, y, -w, h]), 10, 'negative width or height'),
        (
            first(bbox=[5, 5, 10, -3]),
            1,
            r'ids 2; the first in 1\.png with bbox \[5, 5, 10, -3\]',
        ),
        (boxes(lambda x, y, w, h: [x, y, w / 99, h]), 10, 'less than a pixel'),
        (boxes(lambda *box: list(map(str, box))), 10, 'finite.*without quotes'),
        (first(bbox=None), 1, 'not four finite numbers.*bbox None'),
        (first(bbox=[1, 2, 3]), 1, r'not four finite numbers.*\[1, 2, 3\]'),
        (first(bbox=[1, 2, float('nan'), 3]), 1, 'not four finite numbers'),
        (first(bbox=[1, 2, float('inf'), 3]), 1, 'not four finite numbers'),
        (first(bbox=dict(x=1)), 1, 'not four finite numbers'),
        (first(bbox=[True, 2, 3, 4]), 1, 'not four finite numbers'),
        (lambda c: [a.update(iscrowd=1) for a in c['annotations']], 10, 'crowds.*iscrowd=0'),
        (first(iscrowd='maybe'), 1, "iscrowd that is not 0 or 1.*'maybe'"),
        (first(segmentation=[]), 1, 'no segmentation.*give them'),
        (first(segmentation=[[]]), 1, 'no segmentation'),
        (first(segmentation=[[1, 2, 3, 4]]), 1, 'no segmentation.*3 points'),
        (first(segmentation=[['1', '2', '3', '4', '5', '6']]), 1, 'no segmentation'),
        (first(segmentation=dict(size=[HEIGHT, WIDTH])), 1, 'no segmentation'),
        (
            first(segmentation=dict(size=[WIDTH, HEIGHT], counts=[8000])),
            1,
            r'run-length.*\[80, 100\]',
        ),
        (first(segmentation=dict(size=[HEIGHT, WIDTH], counts=[8])), 1, 'run-length.*decoded'),
        (first(segmentation=dict(size=[HEIGHT, WIDTH], counts='abc')), 1, 'run-length.*decoded'),
    ],
)
def test_what_has_no_right_answer_is_refused(tmp_path, spoil, count, message):
    content = sound()
    spoil(content)
    report = check(tmp_path, content)
    with pytest.raises(DataError, match=rf'a\.json: {count} of \d+ .*{message}'):
        report.conclude()


def test_centers_are_recognized_by_objects_at_the_border(tmp_path):
    content = sound()
    for annotation in content['annotations']:
        del annotation['segmentation']
    for annotation in content['annotations'][1::2]:
        annotation['bbox'] = [80, 60, 20, 20]
    assert found(check_only_boxes(tmp_path, content)) == {}
    boxes(lambda x, y, w, h: [x + w / 2, y + h / 2, w, h])(content)
    with pytest.raises(DataError, match='10 of 10 boxes look like center and size'):
        check_only_boxes(tmp_path, content).conclude()


def many(count, low, high, size=20):
    """Objects without masks, whose left upper corners are at random between two places."""
    places = np.random.default_rng(0).uniform(low, high, (count, 2))
    annotations = [
        dict(id=i + 1, image_id=1, category_id=1, bbox=[x, y, size, size], area=1, iscrowd=0)
        for i, (x, y) in enumerate(places.tolist())
    ]
    image = dict(id=1, file_name='1.png', width=1000, height=1000)
    categories = [dict(id=1, name='a')]
    return dict(info={}, images=[image], annotations=annotations, categories=categories)


def check_only_boxes(tmp_path, content) -> CocoReport:
    path = tmp_path / 'a.json'
    path.write_text(json.dumps(content))
    report = CocoReport(str(path), load_coco(path, annotations=('image_id', 'bbox')))
    check_boxes(report)
    return report


def test_small_objects_as_centers_are_suspected_from_the_two_sides(tmp_path):
    """Where the right border cuts objects, the left one does, too, unless they are centers."""
    to_centers = boxes(lambda x, y, w, h: [x + w / 2, y + h / 2, w, h])
    content = many(1500, 0, 980)
    assert check_only_boxes(tmp_path, content).problems == []
    to_centers(content)
    (problem,) = check_only_boxes(tmp_path, content).problems[:1]
    assert 'may be center and size, for ' in problem.what and problem.outcome == 'kept'
    for sound in (
        many(1500, -9, 989),  # objects that are cut at all borders, with what is outside
        many(1500, 300, 600),  # in the middle
        many(1500, 300, 980),  # none at the left
    ):
        problems = check_only_boxes(tmp_path, sound).problems
        assert not any('center' in problem.what for problem in problems)


def test_boxes_and_masks_of_another_size_are_told(tmp_path):
    content = sound()
    boxes(lambda x, y, w, h: [x / 2, y / 2, w / 2, h / 2])(content)
    assert found(check(tmp_path, content)) == {'boxes do not lie around their masks': ('kept', 10)}


def test_objects_given_twice_are_told(tmp_path):
    content = sound()
    content['annotations'] += [dict(a, id=a['id'] + 50) for a in content['annotations'][:4]]
    (problem,) = check_only_boxes(tmp_path, content).problems
    assert problem.what == 'annotations repeat class and box of another'
    assert (problem.outcome, problem.count, problem.usual) == ('kept', 4, False)


def test_masks_of_a_part_of_the_object_are_no_fault(tmp_path):
    content = sound()
    for annotation in content['annotations']:
        x, y, w, h = annotation['bbox']
        annotation['segmentation'] = [[x, y, x + 0.8 * w, y, x, y + 0.8 * h]]
    assert found(check(tmp_path, content)) == {}


def test_a_few_boxes_that_stick_out_are_kept(tmp_path):
    content = sound()
    content['annotations'][0]['bbox'] = [-20, 5, 30, 10]
    content['annotations'][1]['bbox'] = [85, 5, 20, 10]
    content['annotations'][2]['bbox'] = [150, 5, 20, 10]
    content['annotations'][3]['bbox'] = [5, 5, 20, 0.2]
    report = check(tmp_path, content)
    assert found(report) == {
        'boxes lie mostly outside their image': ('kept', 1),
        'boxes lie outside their image': ('left out', 1),
        'boxes reach beyond their image': ('kept', 1),
        'boxes are less than a pixel wide or high': ('left out', 1),
    }
    report.conclude()


def missing(key):
    return lambda content: [a.pop(key) for a in content['annotations']]


@pytest.mark.parametrize(
    ('spoil', 'count', 'what'),
    [
        (missing('iscrowd'), 10, 'annotations have no iscrowd'),
        (first(iscrowd=None), 1, 'annotations have no iscrowd'),
        (first(iscrowd='0'), 1, 'annotations have an iscrowd that is text'),
        (missing('area'), 10, 'annotations have no area above 0'),
        (first(area=0), 1, 'annotations have no area above 0'),
        (first(area='12'), 1, 'annotations have no area above 0'),
        (first(area=float('nan')), 1, 'annotations have no area above 0'),
        (missing('id'), 10, 'annotations have no id'),
        (first(id=0), 1, 'annotations have an id that is 0, repeated or no whole number'),
        (first(id=5), 2, 'annotations have an id that is 0, repeated or no whole number'),
        (first(id='a3f'), 1, 'annotations have an id that is 0, repeated or no whole number'),
        (
            lambda c: [a.update(segmentation=a['segmentation'][0]) for a in c['annotations']],
            10,
            'polygons are a flat list',
        ),
        (
            lambda c: c['annotations'][0]['segmentation'].append([1, 2, 3, 4]),
            1,
            'masks have polygons of fewer than three points',
        ),
    ],
)
def test_what_has_one_right_answer_is_repaired(tmp_path, spoil, count, what):
    pytest.importorskip('pycocotools')
    content = sound()
    spoil(content)
    report = check(tmp_path, content)
    assert found(report) == {what: (REPAIRED, count)} and report.repaired
    report.conclude()
    repaired = report.coco.annotations
    ids = [annotation['id'] for annotation in repaired]
    assert len(set(ids)) == len(ids) and 0 not in ids
    for annotation, original in zip(repaired, sound()['annotations']):
        assert annotation['area'] == original['area']
        assert {**annotation, 'id': 0} == {**original, 'id': 0}


def test_an_area_is_that_of_the_mask(tmp_path):
    pytest.importorskip('pycocotools')
    content = sound()
    content['annotations'][0].update(bbox=[0, 0, 40, 20], segmentation=[[0, 0, 40, 0, 0, 20]])
    content['annotations'][1].update(
        bbox=[0, 0, 1, 6], segmentation=dict(size=[HEIGHT, WIDTH], counts=[0, 6, 7994])
    )
    for annotation in content['annotations']:
        annotation['area'] = 0
    areas = [a['area'] for a in check(tmp_path, content).coco.annotations]
    assert abs(areas[0] - 400) < 25 and areas[1] == 6


def test_an_annotation_of_nothing_is_taken_out(tmp_path):
    content = sound()
    for annotation, box in zip(content['annotations'], ([], [0, 0, 0, 0])):
        annotation.update(bbox=box, segmentation=[], area=0)
    report = check(tmp_path, content)
    assert found(report) == {'annotations have an empty box': (REPAIRED, 2)}
    assert [a['id'] for a in report.coco.annotations] == list(range(4, 12))


@pytest.mark.parametrize(
    ('version', 'needed'), [('2.0.8', 0), ('2.0.9', 1), ('2.0.10', 1), ('2.0.11', 0)]
)
def test_info_is_added_for_the_versions_of_pycocotools_that_need_it(
    tmp_path, monkeypatch, version, needed
):
    monkeypatch.setattr(
        'simmim_mm.datasets.readers.coco_objects.installed_version', lambda name: version
    )
    content = sound()
    assert not check(tmp_path, content).problems
    del content['info']
    report = check(tmp_path, content)
    assert len(report.problems) == needed
    assert ('info' in report.coco.others) == bool(needed)


@pytest.fixture
def images(tmp_path):
    for name in map(str, range(1, 6)):
        Image.new('RGB', (WIDTH, HEIGHT)).save(tmp_path / f'{name}.png')
    return tmp_path


def check_images(folder, content, root='', load=None):
    path = folder / 'a.json'
    path.write_text(json.dumps(content))
    report = CocoReport(str(path), load_coco(path))
    check_files(report, str(folder), root, load)
    return report


def test_sizes_that_are_missing_are_filled_in(images):
    content = sound()
    assert not check_images(images, content).problems
    for image in content['images'][:2]:
        del image['width'], image['height']
    content['images'][2].update(width='100', height='80')
    report = check_images(images, content)
    assert found(report) == {'images have no width and height as whole numbers': (REPAIRED, 3)}
    assert report.coco.images == sound()['images']


def test_sizes_that_are_not_those_of_the_images(images):
    content = sound()
    content['images'][1].update(width=50, height=40)
    with pytest.raises(DataError, match=r'1 of 5 images .*2\.png: 50x40 in the json, 100x80 as'):
        check_images(images, content).conclude()


def turned(folder, upright=(WIDTH, HEIGHT)):
    exif = Image.Exif()
    exif[0x0112] = 6
    for i in range(1, 6):
        Image.new('RGB', upright[::-1]).save(folder / f'{i}.jpg', exif=exif)
    content = sound()
    for image in content['images']:
        image['file_name'] = image['file_name'].replace('png', 'jpg')
    return content


def test_sizes_of_photographs_that_exif_turns(tmp_path):
    content = turned(tmp_path)
    assert not check_images(tmp_path, content).problems
    for image in content['images']:
        image.update(width=HEIGHT, height=WIDTH)
    with pytest.raises(
        DataError, match=r'5 of 5 .*80x100 in the json, 100x80 as loaded, turned.*color_ignore_ori'
    ):
        check_images(tmp_path, content).conclude()
    # A loader that leaves them lying.
    assert not check_images(tmp_path, content, load=lambda path: (WIDTH, HEIGHT)).problems


def test_images_that_are_elsewhere_are_found(images):
    (images / 'deep' / 'er').mkdir(parents=True)
    for i in range(1, 6):
        (images / f'{i}.png').rename(images / 'deep' / 'er' / f'{i}.png')
    with pytest.raises(DataError, match=rf"5 of 5 .*data_prefix.img to '{images}/deep/er/'"):
        check_images(images, sound()).conclude()
    content = sound()
    for image in content['images']:
        image['file_name'] = 'er/' + image['file_name']
    with pytest.raises(DataError, match=rf"data_prefix.img to '{images}/deep/'"):
        check_images(images, content).conclude()
    for image in content['images']:
        image['file_name'] = 'C:/x/' + image['file_name'].replace('png', 'jpg')
    with pytest.raises(DataError, match=r"file_name as 'deep/er/1.png', not 'C:/x/"):
        check_images(images, content).conclude()
    for path in (images / 'deep' / 'er').iterdir():
        path.unlink()
    with pytest.raises(DataError, match=r'1\.png.*set data_prefix.img to the folder'):
        check_images(images, sound(), root=str(images)).conclude()


def test_backslashes_damaged_and_repeated_images(images):
    (images / 'sub').mkdir()
    (images / '1.png').rename(images / 'sub' / '1.png')
    content = sound()
    content['images'][0]['file_name'] = 'sub\\1.png'
    assert found(check_images(images, content)) == {'file names have backslashes': (REPAIRED, 1)}
    content['images'][1]['file_name'] = '3.png'
    (images / '4.png').write_bytes((images / '4.png').read_bytes()[:60])
    report = check_images(images, content)
    assert found(report)['images cannot be read'] == (REFUSED, 1)
    assert found(report)['file names are listed more than once'] == ('kept', 1)
    with pytest.raises(DataError, match=rf'{images}/4\.png'):
        report.conclude()


def test_each_kind_is_a_line_and_what_is_refused_stands_alone(tmp_path, monkeypatch):
    lines = []
    logger = MMLogger.get_current_instance()
    monkeypatch.setattr(logger, 'handlers', [logging.Handler()])
    monkeypatch.setattr(logger.handlers[0], 'emit', lambda record: lines.append(record))
    content = sound()
    del content['annotations'][0]['iscrowd']
    content['annotations'][1]['bbox'] = [150, 5, 20, 10]
    check(tmp_path, content).conclude()
    outside, repaired = lines
    assert outside.levelno == logging.WARNING and repaired.levelno == logging.INFO
    text = outside.getMessage()
    assert '1 of 10 boxes lie outside their image (annotation ids 3; the first in 1.p' in text
    assert 'left out of the training' in text
    assert 'repaired in memory (the file stays as it is)' in repaired.getMessage()

    lines.clear()
    content['annotations'][1]['bbox'] = [1, 2]
    content['annotations'][2]['bbox'] = [1, 2, -3, 4]
    with pytest.raises(DataError) as caught:
        check(tmp_path, content).conclude()
    first, second = str(caught.value).splitlines()
    assert 'a.json: 1 of 10 boxes are not four finite numbers' in first
    assert second.startswith('Also: 1 of 10 boxes have a negative')
    assert not lines  # what would be repaired is of no interest yet
