"""What holds for every mask generator, and what is each one's own."""

import hashlib
import inspect

import cv2
import numpy as np
import pytest

from simmim_mm import _renamed
from simmim_mm.datasets.transforms import (
    BlockWiseMask,
    MaskTransform,
    RandomBlockMask,
    RectangleMask,
    SemanticMask,
    SquareMask,
    UniformMask,
)
from simmim_mm.registry import TRANSFORMS

# (generator, number of masked blocks of an image of 12 x 20)
GENERATORS = [
    (RandomBlockMask(8, 0.6), 144),
    (RandomBlockMask(8, 0.75, rounding='floor_visible'), 180),
    (SquareMask(8, 0.1), 25),
    (RectangleMask(8, 0.23), 56),  # ceil(55.2)
    (RectangleMask(8, 0.45, num_rectangles=3), 108),
    (RectangleMask(8, 0.31, aspect_range=(0.2, 5)), 75),  # ceil(74.4)
    (BlockWiseMask(8, 0.6), 144),
    (BlockWiseMask(8, 0.6, min_area=0, rounding='floor_visible'), 144),
    (UniformMask(8), 180),
    (SemanticMask(8, 0.6), 144),
    (SemanticMask(8, 0.6, foreground_ratio=0), 144),
    (SemanticMask(8, 0.6, foreground_ratio=0.5), 144),
]


def sample(height, width, shift=0):
    foreground = np.zeros((height, width), np.uint8)
    foreground[: height // 2, : width // 2] = 1
    foreground = np.roll(foreground, (8 * shift, 32 * shift), (0, 1))
    return dict(img=np.empty((height, width, 0), np.uint8), gt_seg_map=foreground)


def test_every_generator_is_tried():
    import simmim_mm.datasets.transforms as package

    classes = {c for _, c in inspect.getmembers(package, inspect.isclass)}
    generators = {c for c in classes if issubclass(c, MaskTransform)} - {MaskTransform}
    assert generators == {type(generator) for generator, _ in GENERATORS}


@pytest.mark.parametrize(('generator', 'count'), GENERATORS, ids=repr)
def test_a_thousand_draws(generator, count):
    np.random.seed(0)
    shape, masks = (12, 20), []  # on the grid of the blocks
    for i in range(1000):
        masks.append(generator(sample(96, 160, shift=i))['mask'])
        assert masks[-1].dtype == bool and masks[-1].shape == shape
        assert masks[-1].sum() == count
    repeats = sum(np.array_equal(a, b) for a, b in zip(masks, masks[1:]))
    # A square has 8 x 16 places here and a rectangle some hundreds, so that equal ones follow each
    # other now and then.
    assert repeats <= {SquareMask: 20, RectangleMask: 5}.get(type(generator), 0)
    assert np.any(masks, axis=0).all()
    assert not np.all(masks, axis=0).any()


@pytest.mark.parametrize('make', [SquareMask, RectangleMask])
def test_no_two_in_a_row_are_equal_where_there_is_room(make):
    np.random.seed(0)
    generator, results = make(4, 0.11), sample(1024, 768)
    masks = [generator(results)['mask'] for _ in range(1000)]
    assert not any(np.array_equal(a, b) for a, b in zip(masks, masks[1:]))


# of version 0.1, which repeated the blocks on the grid of the tokens
DIGESTS = [
    (RandomBlockMask(8, 0.6), '02487c403cc0abb0'),
    (RandomBlockMask(16, 0.75, rounding='floor_visible'), '3934e3d7958373c9'),
    (SquareMask(8, 0.1), '3685383fea16ac68'),
    (RectangleMask(8, 0.45, num_rectangles=3), 'f3463a5f9d2aae8e'),
    (BlockWiseMask(8, 0.6), 'bac8bf43efef8ea6'),
    (UniformMask(8), 'd6ca45abe82ffabb'),
    (SemanticMask(8, 0.6, foreground_ratio=0.5), '6082f922f5c823cc'),
]


@pytest.mark.parametrize(('generator', 'digest'), DIGESTS, ids=repr)
def test_a_seed_masks_the_pixels_that_it_always_did(generator, digest):
    np.random.seed(5)
    foreground = np.zeros((96, 160), np.uint8)
    foreground[:40, :100] = 1
    found = hashlib.sha256()
    for _ in range(20):
        mask = generator(dict(img=foreground, gt_seg_map=foreground))['mask']
        size = generator.mask_patch_size
        found.update(np.packbits(mask.repeat(size, 0).repeat(size, 1)).tobytes())
    assert found.hexdigest()[:16] == digest


@pytest.mark.parametrize('make', [RandomBlockMask, SquareMask, UniformMask, BlockWiseMask])
def test_the_token_stride_of_version_0_1_is_taken_and_dropped(make, monkeypatch):
    monkeypatch.setattr(_renamed, '_warned', set())
    with pytest.warns(FutureWarning, match=r'token_stride=.*no longer needed') as warned:
        old = make(mask_patch_size=8, token_stride=4)
    assert len(warned) == 1
    masks = []
    for generator in (old, make(mask_patch_size=8)):
        np.random.seed(0)
        masks.append(generator(sample(64, 96))['mask'])
    assert masks[0].shape == (8, 12) and np.array_equal(*masks)


@pytest.mark.parametrize(('generator', 'count'), GENERATORS, ids=repr)
def test_the_seed_decides(generator, count):
    results = sample(96, 160)
    masks = []
    for seed in (3, 4, 3):
        np.random.seed(seed)
        masks.append([generator(results)['mask'] for _ in range(3)])
    assert np.array_equal(masks[0], masks[2])
    assert not np.array_equal(masks[0], masks[1])


@pytest.mark.parametrize('unit', [4, 12])
@pytest.mark.parametrize('shape', [(2, 2), (2, 14), (16, 6), (10, 10)])
@pytest.mark.parametrize(
    'make',
    [
        RandomBlockMask,
        SquareMask,
        RectangleMask,
        lambda *args: RectangleMask(*args, num_rectangles=4),
        BlockWiseMask,
        SemanticMask,
    ],
)
def test_any_height_and_width_that_blocks_tile(make, shape, unit):
    np.random.seed(0)
    n = shape[0] * shape[1]
    for ratio in (0.05, 0.3, 0.7, 0.95):
        generator = make(unit, ratio)
        count = int(np.ceil(n * ratio))
        side = round((n * ratio) ** 0.5)
        if isinstance(generator, SquareMask):
            count = side**2
            if not 0 < side <= min(shape) or count == n:
                continue
        if count == n:
            continue
        for _ in range(5):
            mask = generator(sample(shape[0] * unit, shape[1] * unit))['mask']
            assert mask.shape == shape and mask.sum() == count


@pytest.mark.parametrize(('generator', 'count'), GENERATORS, ids=repr)
def test_sizes_that_do_not_fit_are_refused(generator, count):
    with pytest.raises(ValueError, match=r'mask_patch_size=8 does not divide .* 96 x 164 pixels'):
        generator(sample(96, 164))


@pytest.mark.parametrize('make', [RandomBlockMask, RectangleMask, BlockWiseMask, SemanticMask])
def test_a_mask_of_everything_is_refused(make):
    with pytest.raises(ValueError, match=r'mask_ratio=0\.9 masks all 4 blocks'):
        make(16, 0.9)(sample(32, 32))


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (lambda: RectangleMask(num_rectangles=0), 'num_rectangles must be 1 or more, got 0'),
        (lambda: RectangleMask(aspect_range=(2, 1)), 'aspect_range'),
        (lambda: BlockWiseMask(aspect_range=(0, 1)), 'aspect_range'),
        (lambda: BlockWiseMask(min_area=1), 'min_area must be a fraction'),
        (lambda: SemanticMask(foreground_ratio=1.2), 'foreground_ratio .* got 1.2'),
        (lambda: SemanticMask(threshold=0), 'threshold must be above 0'),
        (lambda: UniformMask(mask_patch_size=0), 'mask_patch_size .* got 0'),
    ],
)
def test_wrong_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_config_keys():
    cfg = dict(type='RectangleMask', mask_patch_size=8, mask_ratio=0.4, num_rectangles=2)
    mask = TRANSFORMS.build(cfg)(sample(64, 96))['mask']
    assert mask.shape == (8, 12) and mask.sum() == 39  # ceil(96 * 0.4)


# Squares


def test_squares_are_squares_and_every_place_is_as_likely():
    np.random.seed(0)
    generator, places = SquareMask(32, 0.25), np.zeros((3, 6))
    for _ in range(3600):
        mask = generator(sample(160, 256))['mask']  # 5 x 8 blocks, side round(sqrt(10)) = 3
        rows, cols = np.nonzero(mask)
        assert mask.sum() == 9 and np.ptp(rows) == np.ptp(cols) == 2
        places[rows.min(), cols.min()] += 1
    assert np.abs(places - 200).max() < 5 * np.sqrt(200)


def test_squares_that_have_no_block_or_do_not_fit():
    with pytest.raises(ValueError, match=r'side 0: use smaller blocks'):
        SquareMask(32, 0.01)(sample(128, 160))
    with pytest.raises(ValueError, match=r'of 2 x 10 blocks of 32 pixels is a square of side 3'):
        SquareMask(32, 0.5)(sample(64, 320))
    with pytest.raises(ValueError, match='masks all 4 blocks'):
        SquareMask(32, 0.9)(sample(64, 64))


# Rectangles


def bounding_area(mask):
    rows, cols = np.nonzero(mask)
    return (np.ptp(rows) + 1) * (np.ptp(cols) + 1)


def test_one_rectangle_lacks_less_than_a_row_and_has_its_aspect():
    np.random.seed(0)
    for ratio in (0.1, 0.37, 0.8):
        generator = RectangleMask(4, ratio, aspect_range=(0.5, 2))
        for _ in range(100):
            mask = generator(sample(96, 160))['mask']
            rows, cols = np.nonzero(mask)
            height, width = np.ptp(rows) + 1, np.ptp(cols) + 1
            assert height * width - mask.sum() < max(height, width)
            if height < 24 and width < 40:  # not held up by the image
                assert 0.4 < height / width < 2.5


def test_rectangles_are_as_many_as_asked_for():
    np.random.seed(0)
    generator = RectangleMask(4, 0.05, num_rectangles=3)
    counts = []
    for _ in range(200):
        mask = generator(sample(256, 256))['mask']
        counts.append(cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)[0] - 1)
    assert max(counts) <= 4  # a trimmed row beside another rectangle may be cut off
    assert np.mean(np.array(counts) == 3) > 0.5  # else they touch


def test_rectangles_cover_the_whole_image_alike_in_both_directions():
    np.random.seed(0)
    for generator in (RectangleMask(8, 0.4), BlockWiseMask(8, 0.4)):
        share = np.mean([generator(sample(96, 96))['mask'] for _ in range(3000)], axis=0)
        for mirrored in (share[::-1], share[:, ::-1], share.T):
            assert np.abs(share - mirrored).max() < 0.06


# Block-wise


def test_block_wise_is_made_of_large_rectangles():
    np.random.seed(0)

    def perimeter(generator):
        masks = np.array([generator(sample(192, 192))['mask'] for _ in range(100)])
        return (masks[:, 1:] != masks[:, :-1]).sum() + (masks[..., 1:] != masks[..., :-1]).sum()

    # Fewer borders than random blocks by far, more than one rectangle.
    block_wise = perimeter(BlockWiseMask(16, 0.4))
    assert (
        perimeter(RectangleMask(16, 0.4)) < block_wise < 0.6 * perimeter(RandomBlockMask(16, 0.4))
    )


def test_block_wise_rectangles_are_not_smaller_than_asked_for():
    np.random.seed(0)
    # Where one rectangle is all, it is as large as the whole mask.
    for _ in range(50):
        mask = BlockWiseMask(4, 0.2, min_area=0.2, aspect_range=(1, 1))(sample(160, 160))['mask']
        n, cols = 320, np.nonzero(mask)[1]
        assert mask.sum() == n
        assert bounding_area(mask) <= 18 * 19 or np.ptp(cols) >= 17


# Uniform


def test_uniform_keeps_one_of_each_two_by_two():
    np.random.seed(0)
    generator, places = UniformMask(8), np.zeros((2, 2))
    for _ in range(100):
        mask = generator(sample(64, 96))['mask']
        cells = ~mask.reshape(4, 2, 6, 2)
        assert (cells.sum((1, 3)) == 1).all()
        places += cells.sum((0, 2))
    assert np.abs(places - 600).max() < 5 * np.sqrt(600 * 0.75)


def test_uniform_needs_pairs_of_blocks():
    with pytest.raises(ValueError, match=r'has 6 x 7 of them: crop to multiples of 32'):
        UniformMask(16)(sample(96, 112))


# Semantic


def split(generator, foreground):
    """Masked blocks of the foreground and of the background."""
    img = np.empty((*foreground.shape, 3), np.uint8)
    mask = generator(dict(img=img, gt_seg_map=foreground))['mask']
    is_foreground = foreground[::8, ::8] > 0
    return (mask & is_foreground).sum(), (mask & ~is_foreground).sum()


@pytest.mark.parametrize(
    ('kwargs', 'expected'),
    [
        # 6 x 10 blocks of 8 pixels, of which 12 are foreground
        (dict(mask_ratio=0.6), (12, 24)),
        (dict(mask_ratio=0.1), (6, 0)),
        (dict(mask_ratio=0.6, foreground_ratio=0), (0, 36)),
        (dict(mask_ratio=0.9, foreground_ratio=0), (6, 48)),  # the background does not suffice
        (dict(mask_ratio=0.6, foreground_ratio=0.5), (6, 30)),
        (dict(mask_ratio=0.6, foreground_ratio=0.6), (7, 29)),  # round(7.2)
        (dict(mask_ratio=0.05, foreground_ratio=0.5), (3, 0)),  # the total comes first
    ],
)
def test_shares_of_foreground_and_background(kwargs, expected):
    np.random.seed(0)
    foreground = np.zeros((48, 80), np.uint8)
    foreground[16:40, 8:40] = 1
    generator = SemanticMask(8, **kwargs)
    assert {split(generator, foreground) for _ in range(20)} == {expected}


@pytest.mark.parametrize('value', [0, 1])
@pytest.mark.parametrize('ratio', [0, 0.5, 1])
def test_images_without_foreground_or_background_are_masked_at_random(value, ratio):
    np.random.seed(0)
    foreground = np.full((48, 80), value, np.uint8)
    generator = SemanticMask(8, 0.6, foreground_ratio=ratio)
    results = dict(img=np.empty((48, 80, 3), np.uint8), gt_seg_map=foreground)
    share = np.mean([generator(results)['mask'] for _ in range(1000)], axis=0)
    assert np.abs(share - 0.6).max() < 5 * np.sqrt(0.24 / 1000)


def test_the_share_that_makes_a_block_foreground():
    foreground = np.zeros((16, 16), np.uint8)
    foreground[:2, :8] = 1  # a quarter of the first block
    for threshold, always in [(0.25, True), (0.26, False)]:
        generator = SemanticMask(8, 0.25, threshold=threshold)
        np.random.seed(0)
        firsts = [
            generator(dict(img=foreground, gt_seg_map=foreground))['mask'][0, 0] for _ in range(50)
        ]
        assert all(firsts) == always


def test_semantic_masks_need_a_map_that_fits():
    with pytest.raises(ValueError, match=r'no foreground map .*add LoadForeground'):
        SemanticMask()(dict(img=np.empty((96, 96, 3))))
    with pytest.raises(ValueError, match='crops or resizes the image alone'):
        SemanticMask()(dict(img=np.empty((96, 96, 3)), gt_seg_map=np.empty((96, 64), np.uint8)))
