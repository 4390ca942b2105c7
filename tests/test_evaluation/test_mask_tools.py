import numpy as np
import pytest
from PIL import Image

from simmim_mm.cli import parse_args
from simmim_mm.datasets.transforms import RandomBlockMask, UniformMask
from simmim_mm.evaluation.mask_difficulty import measure_generator

PIPELINE = """
default_scope = 'simmim_mm'
train_dataloader = dict(dataset=dict(type='ImageDataset', data_root={root!r}, pipeline=[
    dict(type='LoadImage'),
    dict(type='LoadForeground', folders=('images', 'maps')),
    dict(type='RandomResizedCrop', scale=(32, 64)),
    dict(type={mask!r}, mask_patch_size=8, mask_ratio=0.5),
    dict(type='PackInputs', algorithm_keys=['mask']),
]))
"""


@pytest.fixture
def tool():
    def load(name, *args):
        verb, arguments = parse_args([name, *map(str, args)])
        verb.run(arguments)

    return load


@pytest.fixture
def images(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(3):
        for folder, shape in [('images', (40, 70, 3)), ('maps', (40, 70))]:
            (tmp_path / folder).mkdir(exist_ok=True)
            values = rng.integers(0, 2 if folder == 'maps' else 256, shape, dtype=np.uint8)
            Image.fromarray(values).save(tmp_path / folder / f'{i}.png')
    return tmp_path / 'images'


def table(text):
    lines = [line.strip('| ').split(' | ') for line in text.splitlines() if line.startswith('|')]
    return [dict(zip(lines[0], line)) for line in lines[2:]]


def test_half_of_two_blocks():
    # 16 tokens of a block beside another: distances 1 to 4 tokens, four of each.
    figures = measure_generator(RandomBlockMask(16, 0.5), (16, 32), draws=20)
    assert figures == pytest.approx(dict(masked=0.5, avg_dist=4 * 2.5, std=0))


def test_the_seed_is_that_of_the_masks_and_of_nothing_else():
    np.random.seed(1)
    before = np.random.get_state()[1].copy()
    first, second, other = (
        measure_generator(RandomBlockMask(32), (192, 96), draws=5, seed=seed) for seed in (1, 1, 2)
    )
    assert first == second != other
    np.testing.assert_array_equal(np.random.get_state()[1], before)


def test_table_of_masks(tool, tmp_path, capsys):
    masks = ['RandomBlockMask(mask_patch_size=32)', 'SquareMask(mask_patch_size=32)']
    args = [arg for mask in masks for arg in ('--mask', mask)]
    args += ['--ratios', '.4', '.95', '--size', '192', '96', '--draws', '20']
    tool('mask-stats', *args, '--out-dir', tmp_path / 'out')
    printed = capsys.readouterr()
    rows = table(printed.out)
    assert [(row['mask'], row['ratio'], row['masked']) for row in rows] == [
        (masks[0], '0.4', '0.444'),
        (masks[1], '0.4', '0.5'),
    ]
    assert 'RandomBlockMask(mask_patch_size=32) at 0.95: mask_ratio=0.95 masks all' in printed.err
    assert sorted(p.name for p in (tmp_path / 'out').iterdir()) == [
        'mask_avg_dist.csv',
        'mask_avg_dist.png',
    ]


def test_mask_of_a_config(tool, images, tmp_path, capsys):
    config = tmp_path / 'random.py'
    config.write_text(PIPELINE.format(root=str(images), mask='RandomBlockMask'))
    tool('mask-stats', config, '--size', '32', '64')
    (alone,) = table(capsys.readouterr().out)
    tool('mask-stats', config, '--data')
    (on_images,) = table(capsys.readouterr().out)
    assert alone['mask'] == on_images['mask'] == 'random'
    assert alone['masked'] == on_images['masked'] == '0.5'
    assert float(on_images['avg_dist']) == pytest.approx(float(alone['avg_dist']), rel=0.3)


def test_distances_are_between_the_tokens_of_the_configs_backbone(tool, images, tmp_path, capsys):
    config = tmp_path / 'vit.py'
    vit = "dict(type='MaskedViT', arch='deit-tiny', img_size=64, patch_size=8)"
    text = (
        PIPELINE.replace('mask_patch_size=8', 'mask_patch_size=16')
        + f'model = dict(backbone={vit})'
    )
    config.write_text(
        text.format(root=str(images), mask='UniformMask').replace(', mask_ratio=0.5', '')
    )
    for args in ([], ['--data']):
        tool('mask-stats', config, '--size', '32', '64', *args)
        (row,) = table(capsys.readouterr().out)
        assert row['masked'] == '0.75'
        # three blocks of 2 x 2 tokens beside each visible one: more than one token of eight, less
        # than three
        assert 8 < float(row['avg_dist']) < 24
    generator, figures = UniformMask(16), []
    for stride in (4, 8, 16):
        figures.append(measure_generator(generator, (32, 64), 500, 0, stride)['avg_dist'])
    tool('mask-stats', config, '--size', '32', '64')
    (row,) = table(capsys.readouterr().out)
    assert float(row['avg_dist']) == pytest.approx(figures[1], rel=1e-2)
    assert len({f'{figure:.3g}' for figure in figures}) == 3


def test_semantic_masks_are_measured_on_the_images(tool, images, tmp_path, capsys):
    config = tmp_path / 'semantic.py'
    config.write_text(PIPELINE.format(root=str(images), mask='SemanticMask'))
    with pytest.raises(ValueError, match='add --data'):
        tool('mask-stats', config)
    tool('mask-stats', config, '--data')
    (row,) = table(capsys.readouterr().out)
    assert row['masked'] == '0.5'


def test_picture_of_samples(tool, images, tmp_path):
    out = tmp_path / 'samples.png'
    maps = "LoadForeground(folders=('images', 'maps'))"
    tool('mask-samples', images, '--out', out, '--size', '64', '--num', '2', '--foreground', maps)
    tool('mask-samples', images / '0.png', '--out', tmp_path / 'one.png', '--size', '32',
         '--mask', 'RandomBlockMask(mask_patch_size=16, mask_ratio=0.5)')  # fmt: skip
    large, small = (np.asarray(Image.open(path)) for path in (out, tmp_path / 'one.png'))
    assert large.shape[0] > 2 * 64 and large.shape[1] > 13 * 64
    # Half of the last picture, 32 pixels wide, is hatched in its two grays.
    grays = np.isin(small[22:54], (108, 128)).all(-1).sum()
    assert grays == pytest.approx(512, abs=5)
