"""Models measured on corrupted images: what is kept, which classes count, and the tables."""

import csv
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image
from robustness_toys import write_classifier, write_images, write_pretraining

from simmim_mm.cli import main
from simmim_mm.datasets.transforms.corrupt import Corrupt
from simmim_mm.experiments.evaluation import (
    IMAGENET_WNIDS,
    Checkpoint,
    ModelEvaluation,
    Options,
)
from simmim_mm.experiments.robustness import (
    Cell,
    by_severity,
    compare_names,
    conditions,
    summarize,
)
from simmim_mm.registry import MODELS


@pytest.fixture
def tool(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    def run(*args: object) -> list[dict]:
        main(['robustness', *map(str, args), '--work-dir', 'out'])
        with open('out/cells.csv', newline='') as file:
            return list(csv.DictReader(file))

    return run


def accuracy(file: Path, images: list[np.ndarray], labels: list[int], subset: list[int]) -> float:
    """Percentage of images whose best class of some is the right one."""
    state = torch.load(file, weights_only=False)
    model = MODELS.build(Config.fromstring(state['meta']['cfg'], '.py').model)
    model.load_state_dict(state['state_dict'])
    x = torch.from_numpy(np.stack(images).astype(np.float32)).permute(0, 3, 1, 2)
    with torch.no_grad():
        scores = model.eval()((x - 120) / 60, mode='tensor')[:, subset]
    right = torch.tensor(subset)[scores.argmax(1)] == torch.tensor(labels)
    return 100 * right.double().mean().item()


def crops(root: Path, names: list[str]) -> tuple[list[np.ndarray], list[int]]:
    """The center of each image, which is what the pipeline cuts out, and its label."""
    images, labels = [], []
    for label, name in enumerate(names):
        for path in sorted((root / name).glob('*.png')):
            images.append(np.asarray(Image.open(path))[2:34, 2:34])
            labels.append(label)
    return images, labels


def test_accuracy_is_that_of_the_corrupted_crops(tool, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr('simmim_mm.experiments.report._MINUTE', 0.0)
    names = ['a', 'b', 'c']
    data = write_images(tmp_path / 'data', names, 6)
    file = write_classifier(tmp_path / 'x.pth', names)
    rows = tool(
        file, data, '--corruptions', 'contrast', '--severities', 2, 5,
        '--cfg-options', 'val_dataloader.batch_size=4',
    )  # fmt: skip
    images, labels = crops(data, names)
    for row, keep in zip(rows, (1, 0.3, 0.05)):
        changed = []
        for image in images:
            mean = image.mean((0, 1))
            changed.append(((image - mean) * keep + mean + 1e-9).astype(np.uint8))
        expected = accuracy(file, changed, labels, [0, 1, 2])
        assert float(row['accuracy/top1']) == pytest.approx(expected)
    assert [row['severity'] for row in rows] == ['0', '2', '5']
    # 18 images are five batches of four
    line = r'2 of 3: .*contrast.*: (\d+)%, about 0 s left of it'
    assert re.findall(line, capsys.readouterr().out) == ['20', '40', '60', '80']


def test_images_of_mmcv_are_corrupted_in_rgb(tmp_path):
    data = write_images(tmp_path / 'data', ['a', 'b'], 2)
    loader = dict(type='LoadImageFromFile')
    found = []
    for name, load in (('rgb', None), ('bgr', loader)):
        file = write_classifier(tmp_path / f'{name}.pth', ['a', 'b'], load=load)
        evaluation = ModelEvaluation(
            Checkpoint(name, str(file)), None, Options(str(data)), tmp_path / 'out'
        )
        assert evaluation.channel_order == name
        found.append(evaluation.image(dict(corruption='jpeg_compression', severity=5)))
    expected = Corrupt('jpeg_compression', 5)(dict(img=crops(data, ['a', 'b'])[0][0]))['img']
    assert (found[0] == expected).all() and (found[1] == expected).all()


def test_finished_cells_are_kept(tool, tmp_path, capsys):
    names = ['a', 'b']
    data = write_images(tmp_path / 'data', names)
    files = [write_classifier(tmp_path / f'{i}.pth', names, i) for i in range(2)]
    args = [f'x={files[0]}', f'x={files[1]}', data, '--corruptions', 'fog', '--severities', 3]
    first = tool(*args)
    assert '4 of 4: x, fog 3: accuracy/top1' in capsys.readouterr().out
    known = Path('out/cells.jsonl')
    whole = known.read_text()
    known.write_text(whole[:-20])  # killed while it wrote
    assert tool(*args) == first
    shown = capsys.readouterr().out
    assert '4 of 4: x, fog 3' in shown and '3 of 4' not in shown
    assert 'about' not in shown  # nothing was left
    table = Path('out/results.md').read_text()
    assert table.startswith('| name | seeds | clean | sd clean |') and '| x | 2 |' in table
    # Other weights in the same file are measured anew.
    write_classifier(files[1], names, 5)
    tool(*args)
    assert '3 of 4: x, clean' in capsys.readouterr().out
    assert Image.open('out/corruptions.png').width > 2 * 96 and Path('out/results.png').is_file()


def test_classes_of_a_subset_by_wnid(tool, tmp_path):
    """As of ImageNet-A: 3 of 1000 classes have images, and the others cannot be chosen."""
    wnids = IMAGENET_WNIDS.read_text().split()
    subset = [7, 281, 999]
    names = [wnids[i] for i in subset]
    data = write_images(tmp_path / 'data', names, 5)
    file = write_classifier(tmp_path / 'x.pth', [f'class {i}' for i in range(1000)])
    (row,) = tool(file, data, '--corruptions', 'none')
    images, labels = crops(data, names)
    labels = [subset[label] for label in labels]
    assert float(row['accuracy/top1']) == pytest.approx(accuracy(file, images, labels, subset))
    assert accuracy(file, images, labels, list(range(1000))) < float(row['accuracy/top1'])


def test_of_a_pretraining_the_loss_under_the_same_masks(tool, tmp_path, capsys):
    data = write_images(tmp_path / 'data', ['.'], 6)
    file = write_pretraining(tmp_path / 'x.pth')
    args = [file, data, '--corruptions', 'gaussian_noise', 'pixelate', '--severities', 1]
    rows = tool(*args)
    losses = [float(row['masked_loss/loss']) for row in rows]
    assert losses[1] != losses[0] != losses[2]
    Path('out/cells.jsonl').unlink()
    more = ['--cfg-options', 'val_dataloader.num_workers=2', 'val_dataloader.batch_size=1']
    repeated = [float(row['masked_loss/loss']) for row in tool(*args, *more)]
    assert repeated == pytest.approx(losses, rel=1e-5)
    other = tool(*args, '--seed', 1)
    assert abs(float(other[0]['masked_loss/loss']) - losses[0]) > 1e-4  # other masks


def test_nearest_neighbors_of_a_pretraining(tool, tmp_path):
    names = ['a', 'b', 'c']
    for part in ('train', 'val'):
        write_images(tmp_path / 'data' / part, names, 5)  # the same images
    file = write_pretraining(tmp_path / 'x.pth')
    args = [file, tmp_path / 'data', '--probe', 'knn', '--corruptions', 'saturate']
    rows = tool(*args, '--severities', 2)  # nearly gray, where color is the class
    values = [float(row['knn/accuracy']) for row in rows]
    assert values[0] == 100 > values[1]
    rows = tool(*args, '--severities', 2, '--limit', 3)
    assert {round(float(row['knn/accuracy']) * 3) % 100 for row in rows} == {0}  # of 3 images


def test_tables_equal_their_definitions():
    a, b, c = (Checkpoint(name, f'{i}.pth') for i, name in enumerate('xxy'))
    wanted = conditions(['fog', 'snow', 'saturate'], [1, 2])  # the last is not of the 15
    values = {
        a: [80, 60, 40, 70, 50, 0, 0],
        b: [90, 70, 50, 80, 60, 0, 0],
        c: [85, 30, 20, 90, 80, 99, 99],
    }
    cells = [
        Cell(x, condition, {'accuracy/top1': float(value)})
        for x in (a, b, c)
        for condition, value in zip(wanted, values[x])
    ]
    x, y = summarize(cells, 'accuracy/top1')
    assert (x['clean'], x['corrupted'], x['seeds']) == (85, (55 + 65) / 2, 2)
    assert x['sd clean'] == pytest.approx(50**0.5) and y['sd clean'] is None
    assert x['relative'] == pytest.approx((100 * 55 / 80 + 100 * 65 / 90) / 2)
    assert y['corrupted'] == (25 + 85) / 2
    # errors summed over severities, of y by x, averaged over fog and snow
    fog, snow = (70 + 80) / ((40 + 60 + 30 + 50) / 2), (10 + 20) / ((30 + 50 + 20 + 40) / 2)
    assert y['CE'] == pytest.approx(100 * (fog + snow) / 2) and x['CE'] == pytest.approx(100)
    points = {(p['name'], p['severity']): p['mean'] for p in by_severity(cells, 'accuracy/top1')}
    assert points['x', 1] == (60 + 70 + 70 + 80) / 4 and points['y', 0] == 85


def test_names_are_compared_by_pairs_of_checkpoints():
    """Student's t of two differences, 2 and 4: 3 +- 12.706 * sd / sqrt(2)."""
    (text,) = compare_names(dict(a=[50.0, 70.0], b=[52.0, 74.0]))
    low, high = 3 - 12.706 * 2**0.5 / 2**0.5, 3 + 12.706
    assert text == f'b: 3 above a (95% interval {low:.3g} to {high:.3g}, 2 pairs): ' + (
        'no difference is shown.'
    )
    (text,) = compare_names(dict(a=[5.0], b=[4.0]))
    assert text == 'b: 1 below a, from one pair of checkpoints: nothing is known of the spread.'


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        (['x.pth', 'data', '--corruptions', 'rain'], "no corruption 'rain'; there are gaussian_n"),
        (['x.pth', 'data', '--severities', '9'], 'severity must be 1 to 5, got 9'),
        (['x.pth', 'data', '--limit', '0'], '--limit must be at least 1, got 0'),
        (
            ['x.pth', 'data', '--metric', 'F1'],
            "no metric 'F1'; --metric takes one of accuracy/top1",
        ),
        (
            ['x.pth', 'small'],
            'small/a/0.png has 30x30 pixels where it is corrupted, which takes 32',
        ),
        (['x.pth', 'others'], "others: 'd', 'e' are not among the 2 classes of x.pth ('a', 'b')"),
        (['x.pth', 'flat'], 'flat has 0 class folders: at least 2 are needed'),
        (['x.pth'], 'val_dataloader.dataset: '),
        (['none.pth', 'data'], 'no checkpoint none.pth'),
        (['data'], 'data is a folder of data: give checkpoints before it'),
        (['bare.pth', 'data'], 'bare.pth carries no config'),
        (['cut.pth', 'data'], 'cut.pth lacks 1 weights of the model, such as head.fc.bias'),
        (['mim.pth'], 'the config of mim.pth has nothing to measure it by'),
        (['mim.pth', 'data', '--probe', 'knn'], 'data has no val'),
    ],
)
def test_refusals_are_one_line(tool, tmp_path, capsys, args, message):
    folders = dict(data=['a', 'b'], small=['a', 'b'], others=['d', 'e'], flat=['.'])
    for folder, names in folders.items():
        write_images(tmp_path / folder, names, 2, 30 if folder == 'small' else 36)
    file = write_classifier(tmp_path / 'x.pth', ['a', 'b'])
    write_pretraining(tmp_path / 'mim.pth')
    state = torch.load(file, weights_only=False)
    torch.save(dict(state_dict=state['state_dict']), tmp_path / 'bare.pth')
    del state['state_dict']['head.fc.bias']
    torch.save(state, tmp_path / 'cut.pth')
    more = [] if '--corruptions' in args else ['--corruptions', 'contrast']
    with pytest.raises(SystemExit) as stop:
        tool(*args, *more)
    line, hint = capsys.readouterr().err.splitlines()[-2:]
    assert stop.value.code == 2 and hint.startswith('(set')
    assert line.startswith('error: ') and message in line
