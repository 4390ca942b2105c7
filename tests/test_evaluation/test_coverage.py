import json

import numpy as np
import pytest
from mmcv.transforms import Compose

from simmim_mm.cli import main
from simmim_mm.evaluation.coverage import (
    Objects,
    box_fractions,
    object_coverage,
    read_objects,
    trace_crop,
)
from simmim_mm.registry import TRANSFORMS

SIZES = [(375, 500), (320, 200), (64, 90)]


def random_resized_crop(**kwargs):
    return TRANSFORMS.build(dict(type='simmim_mm.RandomResizedCrop', scale=96, **kwargs))


@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('area', [(0.08, 0.2), (0.67, 1.0)])
def test_finds_the_window_that_a_crop_drew(size, area):
    crop = random_resized_crop(crop_ratio_range=area)
    for seed in range(10):
        np.random.seed(seed)
        top, left, height, width = crop.rand_crop_params(np.zeros((*size, 3)))
        np.random.seed(seed)
        edges, _ = trace_crop(crop, size)
        np.testing.assert_allclose(
            edges, [[top, top + height], [left, left + width]], rtol=0, atol=0.005 * max(size)
        )


def test_finds_the_padding_of_simple_resized_crop():
    # 200 x 300 to 100 x 150: two pixels of the image for one, and up to 4 of reflection.
    crop = TRANSFORMS.build(dict(type='simmim_mm.SimpleResizedCrop', size=100))
    offsets = set()
    for seed in range(40):
        np.random.seed(seed)
        (top, bottom), (left, right) = trace_crop(crop, (200, 300))[0]
        assert abs(bottom - top - 200) < 1 and abs(right - left - 200) < 1
        assert abs(top / 2 - round(top / 2)) < 0.3
        offsets.add(round(top / 2))
    assert offsets == set(range(-4, 5))


def test_finds_flips():
    flip = TRANSFORMS.build(dict(type='mmpretrain.RandomFlip', prob=1.0, direction='horizontal'))
    edges, _ = trace_crop(flip, (60, 80))
    np.testing.assert_allclose(edges, [[0, 60], [80, 0]], atol=0.3)


def test_shares_are_areas_of_overlap():
    box = (10, 20, 50, 40)  # 40 wide, 20 high
    assert box_fractions(box, np.array([[0, 100], [0, 100]])) == (1, 1)
    assert box_fractions(box, np.array([[0, 25], [40, 100]])) == (0.25**2, 0.25**2)
    assert box_fractions(box, np.array([[50, 90], [0, 100]])) == (0, 0)
    # Mirrored, or with padding around the image: what is shown is the same.
    assert box_fractions(box, np.array([[25, -9], [100, 40]]))[0] == 0.25**2


@pytest.mark.parametrize('flipped', [False, True])
def test_a_mask_hides_what_lies_under_its_cells(flipped):
    rng = np.random.default_rng(0)
    mask = rng.random((4, 6)) < 0.5
    edges = np.array([[8, 40], [12, 60]])  # cells of 8 x 8 pixels
    pixels = np.ones((64, 64), bool)
    pixels[8:40, 12:60] = (mask[:, ::-1] if flipped else mask).repeat(8, 0).repeat(8, 1)
    if flipped:
        edges[1] = edges[1, ::-1]
    for left, top, right, bottom in [(0, 0, 64, 64), (13, 5, 33, 22), (50, 30, 64, 41)]:
        _, visible = box_fractions((left, top, right, bottom), edges, mask)
        np.testing.assert_allclose(visible, (~pixels[top:bottom, left:right]).mean())


def test_central_crop_has_a_closed_form():
    # The middle 60 of 100 columns; a box over columns 0..40 keeps 20 of its 40.
    objects = [Objects((60, 100), np.array([[0, 0, 40, 60], [30, 10, 70, 20.0]]))]
    crop = Compose(
        [
            TRANSFORMS.build(dict(type='simmim_mm.ResizeToCover', size=48)),
            TRANSFORMS.build(dict(type='mmpretrain.CenterCrop', crop_size=48)),
        ]
    )
    coverage = object_coverage(objects, crop, mask_ratio=0.6, draws=1)
    np.testing.assert_allclose(coverage.kept, [0.5, 1.0], atol=0.01)
    np.testing.assert_allclose(coverage.visible, [0.2, 0.4], atol=0.005)
    np.testing.assert_allclose(coverage.area, [0.4, 4 / 60])


def test_simple_resized_crop_has_an_expectation():
    # On a square image of its own size the crop loses |d| rows of n, d uniform on -4..4.
    objects = [Objects((40, 40), np.array([[0, 0, 40, 40.0]]))]
    crop = TRANSFORMS.build(dict(type='simmim_mm.SimpleResizedCrop', size=40))
    coverage = object_coverage(objects, crop, draws=400)
    lost = np.abs(np.arange(-4, 5)).mean() / 40
    np.testing.assert_allclose(coverage.kept, (1 - lost) ** 2, atol=0.01)


def test_masks_of_the_pipeline_agree_with_the_expectation():
    objects = [Objects((96, 128), np.array([[20, 10, 90, 60.0], [100, 80, 110, 90]]))]
    crop = random_resized_crop(crop_ratio_range=(0.67, 1.0))
    mask = dict(type='simmim_mm.RandomBlockMask', mask_patch_size=8, mask_ratio=0.75)
    masked = Compose([crop, TRANSFORMS.build(mask)])
    drawn = object_coverage(objects, masked, draws=300)
    expected = object_coverage(objects, crop, mask_ratio=0.75, draws=300)
    np.testing.assert_allclose(drawn.kept, expected.kept, atol=0.05)
    np.testing.assert_allclose(drawn.visible, drawn.kept / 4, atol=0.03)
    np.testing.assert_allclose(expected.visible, expected.kept / 4)


def test_repeats_and_leaves_the_random_state_alone():
    objects = [Objects((60, 80), np.array([[0, 0, 40, 60.0]]))]
    crop = random_resized_crop(crop_ratio_range=(0.2, 1.0))
    np.random.seed(3)
    first = object_coverage(objects, crop, draws=5, seed=1)
    after = np.random.rand()
    np.random.seed(3)
    assert np.random.rand() == after
    assert object_coverage(objects, crop, draws=5, seed=1).kept == first.kept
    assert object_coverage(objects, crop, draws=5, seed=2).kept != first.kept


def test_means_weigh_objects_or_images():
    objects = [
        Objects((10, 10), np.array([[0, 0, 10, 10], [0, 0, 5, 10], [5, 0, 10, 10.0]])),
        Objects((10, 10), np.array([[0, 0, 5, 10.0]])),
    ]

    def left_half(results):
        results['img'] = results['img'][:, :5]
        return results

    coverage = object_coverage(objects, left_half, draws=1)
    np.testing.assert_allclose(coverage.kept, [0.5, 1, 0, 1], atol=0.05)
    assert coverage.mean('kept') == pytest.approx(2.5 / 4, abs=0.03)
    assert coverage.mean('kept', 'image') == pytest.approx(0.75, abs=0.03)
    assert coverage.mean('kept', 'largest') == pytest.approx(0.75, abs=0.03)


@pytest.mark.parametrize(
    ('transform', 'message'),
    [
        (lambda r: {**r, 'img': np.rot90(r['img'])}, 'not a crop along the axes'),
        (lambda r: {**r, 'img': 255 - r['img']}, 'changes pixel values'),
    ],
)
def test_refuses_transforms_that_it_cannot_trace(transform, message):
    with pytest.raises(ValueError, match=message):
        trace_crop(transform, (60, 80))


@pytest.fixture
def annotations(tmp_path):
    data = dict(
        images=[dict(id=5, height=60, width=80), dict(id=7, height=50, width=50)],
        annotations=[
            dict(image_id=5, bbox=[-10, 0, 30, 30], iscrowd=0),
            dict(image_id=5, bbox=[0, 0, 80, 60], iscrowd=1),
            dict(image_id=5, bbox=[70, 50, 20, 20]),
            dict(image_id=7, bbox=[10, 10, 0, 5]),
        ],
    )
    path = tmp_path / 'boxes.json'
    path.write_text(json.dumps(data))
    return path


def test_reads_boxes_clipped_and_without_crowds(annotations):
    (one,) = read_objects(annotations)
    assert one.size == (60, 80)
    np.testing.assert_array_equal(one.boxes, [[0, 0, 20, 30], [70, 50, 80, 60]])


@pytest.mark.parametrize('text', ['{', '[]', '{"images": []}', '{"images": [], "annotations": []}'])
def test_names_files_that_hold_no_boxes(tmp_path, text):
    path = tmp_path / 'bad.json'
    path.write_text(text)
    with pytest.raises(ValueError, match=r'bad\.json'):
        read_objects(path)


def test_tool_writes_table_csv_and_plot(annotations, tmp_path, capsys):
    out = tmp_path / 'out'
    crop = 'SimpleResizedCrop(size=32), RandomBlockMask(mask_patch_size=16, mask_ratio=0.5)'
    args = [str(annotations), '--draws', '2', '--size', '32', '--out-dir', str(out), '--crop', crop]
    main(['coverage', *args])
    printed = capsys.readouterr().out
    assert '2 objects in 1 images' in printed
    assert '68.3% | 17.1%' in printed
    assert sorted(p.name for p in out.iterdir()) == [
        'coverage.csv',
        'coverage.png',
        'coverage_objects.csv',
    ]
    assert len((out / 'coverage_objects.csv').read_text().splitlines()) == 1 + 5 * 2
