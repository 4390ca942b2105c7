"""Shape bias against its definition: decisions of a classifier on images of conflicting cues."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image
from robustness_toys import write_classifier

from simmim_mm.cli import main
from simmim_mm.datasets.errors import DataError
from simmim_mm.evaluation.shape_bias import (
    CATEGORIES,
    ShapeBias,
    category_classes,
    count_decisions,
    read_cues,
)
from simmim_mm.experiments.evaluation import IMAGENET_WNIDS
from simmim_mm.registry import MODELS

CIFAR10 = ['airplane', 'automobile', 'bird', 'cat', 'deer', 'dog', 'frog', 'horse', 'ship', 'truck']


def test_bias_is_shape_decisions_by_those_for_a_cue():
    results = [
        *[('cat', 'cat', 'dog')] * 3,  # for the shape
        *[('dog', 'cat', 'dog')] * 2,  # for the texture
        ('car', 'cat', 'dog'),  # for neither
        ('cat', 'dog', 'cat'),
    ]
    found = count_decisions(results)
    assert found['bias'] == pytest.approx(100 * 3 / 6)
    assert found['decided'] == pytest.approx(100 * 6 / 7)
    assert [found[f'cat/{kind}'] for kind in ('shape', 'texture', 'other')] == [3, 2, 1]
    assert [found[f'dog/{kind}'] for kind in ('shape', 'texture', 'other')] == [0, 1, 0]
    assert np.isnan(count_decisions([('car', 'cat', 'dog')])['bias'])


def test_imagenet_classes_of_categories_are_those_of_the_authors():
    """By wnid, some of helper/human_categories.py in github.com/rgeirhos/texture-vs-shape."""
    wnids = IMAGENET_WNIDS.read_text().split()
    found = category_classes(1000, [])
    assert tuple(found) == CATEGORIES and len(CATEGORIES) == 16
    expected = dict(
        airplane='n02690373',
        bear='n02132136 n02133161 n02134084 n02134418',
        bicycle='n02835271 n03792782',
        clock='n02708093 n03196217 n04548280',
        elephant='n02504013 n02504458',
        keyboard='n03085013 n04505470',
        knife='n03041632',
        oven='n04111531',
    )
    for category, names in expected.items():
        assert [wnids[i] for i in found[category]] == names.split()
    assert len({i for indices in found.values() for i in indices}) == sum(map(len, found.values()))


def test_the_mean_probability_of_a_category_decides():
    """Two classes of 0.3 together lose against one of 0.35: a mean, not a sum."""
    metric = ShapeBias(dict(cat=[0, 1], dog=[2], car=[3]))
    assert metric.decide(torch.tensor([0.3, 0.3, 0.35, 0.05])) == 'dog'
    assert metric.decide(torch.tensor([0.5, 0.3, 0.35, 0.05])) == 'cat'


def test_classes_by_name():
    found = category_classes(10, CIFAR10)
    assert found == dict(airplane=[0], bird=[2], boat=[8], car=[1], cat=[3], dog=[5], truck=[9])
    found = category_classes(3, ['tabby', 'lion', 'dog'], dict(cat=['tabby', 'lion']))
    assert found == dict(cat=[0, 1], dog=[2])
    with pytest.raises(DataError, match="no category 'horse'; there are airplane, bear"):
        category_classes(10, CIFAR10, dict(horse=['horse']))
    with pytest.raises(DataError, match="no class 'lion'; there are airplane"):
        category_classes(10, CIFAR10, dict(cat=['lion']))
    with pytest.raises(DataError, match='deer, dog have 1: name more with --categories'):
        category_classes(2, ['deer', 'dog'])


def test_cues_by_name():
    assert read_cues('a/cat4-truck2.png') == ('cat', 'truck')
    assert read_cues('a/cat4.png') is None and read_cues('a/cat4-tree2.png') is None


def write_stimuli(root: Path) -> None:
    rng = np.random.default_rng(0)
    names = [f'{a}{i}-{b}{i}' for a in ('cat', 'dog', 'boat') for b in ('car', 'cat') for i in '12']
    for name in [*names, 'bear1-cat1', 'cat9-cat1', 'cat3']:  # bears are not in CIFAR-10
        path = root / name.rstrip('12').split('-')[0].rstrip('12') / f'{name}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        image = rng.integers(0, 256, (32, 32, 3)) // 2 + rng.integers(0, 128, 3)
        Image.fromarray(image.astype(np.uint8)).save(path)


def test_the_command_counts_what_a_model_decides(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_stimuli(tmp_path / 'stimuli')
    files = [write_classifier(tmp_path / f'{i}.pth', CIFAR10, i) for i in range(3)]
    main(['shape-bias', f'a={files[0]}', f'a={files[1]}', f'b={files[2]}', 'stimuli'])
    shown = capsys.readouterr().out
    assert 'Shape bias, b: ' in shown and Image.open('work_dirs/shape_bias/shape_bias.png').width

    names = dict(airplane=0, bird=2, boat=8, car=1, cat=3, dog=5, truck=9)
    biases = []
    for file in files:
        state = torch.load(file, weights_only=False)
        model = MODELS.build(Config.fromstring(state['meta']['cfg'], '.py').model)
        model.load_state_dict(state['state_dict'])
        decided = dict(shape=0, texture=0)
        for path in sorted(Path('stimuli').glob('*/*.png')):
            cues = read_cues(path)
            if cues is None or 'bear' in cues or cues.shape == cues.texture:
                continue
            x = torch.from_numpy(np.array(Image.open(path), np.float32)).permute(2, 0, 1)[None]
            with torch.no_grad():
                scores = model.eval()((x - 120) / 60, mode='tensor')[0]
            decision = max(names, key=lambda name: float(scores[names[name]]))
            for kind in decided:
                decided[kind] += decision == getattr(cues, kind)
        total = sum(decided.values())
        biases.append(100 * decided['shape'] / total if total else None)
    with open('work_dirs/shape_bias/results.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    known = [x for x in biases[:2] if x is not None]
    expected = [np.mean(known) if known else None, biases[2]]
    for row, value in zip(rows, expected):
        assert row['images'] == '10'  # without bear, cat-cat and cat3
        assert (float(row['shape bias']) if row['shape bias'] else None) == pytest.approx(value)


def test_a_folder_without_stimuli_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'other').mkdir()
    Image.new('RGB', (32, 32)).save(tmp_path / 'other/cat1.png')
    file = write_classifier(tmp_path / 'x.pth', CIFAR10)
    for args, message in (
        (['other'], 'other has no image named like cat4-truck2.png'),
        ([], 'give a folder of stimuli behind the checkpoints'),
        (['other', '--categories', 'cat'], "--categories 'cat' is not like car=automobile"),
    ):
        with pytest.raises(SystemExit):
            main(['shape-bias', str(file), *args])
        assert message in capsys.readouterr().err
