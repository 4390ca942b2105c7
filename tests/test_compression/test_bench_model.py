"""simmim bench-model: turns, medians, memory, and rows of checkpoints, configs and ONNX files."""

import csv

import numpy as np
import pytest
from PIL import Image
from vis_toys import save_checkpoint, tiny_config

from simmim_mm.cli import main
from simmim_mm.compression.bench_model import (
    Variant,
    bench_models,
    latencies,
    median_and_spread,
    peak_of,
)
from simmim_mm.deploy import DeployError, export_onnx
from simmim_mm.evaluation.features import FeatureExtractor
from simmim_mm.evaluation.knn import knn_accuracy, load_split


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A checkpoint, its config, and labeled images: bright and dark, two of them alike."""
    folder = tmp_path_factory.mktemp('bench')
    save_checkpoint(folder / 'vit.pth', tiny_config())
    (folder / 'vit.py').write_text(tiny_config().pretty_text)
    rng = np.random.default_rng(0)
    for split, count in (('train', 6), ('val', 4)):
        for name, value in (('dark', 100), ('light', 101)):
            for i in range(count):
                path = folder / 'data' / split / name / f'{i}.png'
                path.parent.mkdir(parents=True, exist_ok=True)
                pixels = rng.normal(value, 60, (32, 48, 3)).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(path)
    return folder


def test_models_take_turns_and_the_first_runs_do_not_count():
    calls = []
    models = [lambda x, name=name: calls.append((name, x.shape)) for name in 'ab']
    times = latencies(models, [np.zeros(1), np.zeros(2)], runs=4)
    assert calls == [('a', (1,)), ('b', (2,))] * 7
    assert [len(taken) for taken in times] == [4, 4]


def test_spread_is_the_distance_of_the_quartiles():
    values = np.random.default_rng(0).exponential(size=21)
    low, middle, high = np.percentile(values, [25, 50, 75])
    assert median_and_spread(list(values)) == pytest.approx((middle, high - low))
    assert median_and_spread([3.0]) == (3.0, None)


def test_peak_is_of_what_was_there_at_once():
    def work() -> None:
        for _ in range(3):  # one after the other
            np.ones(64 * 2**20, np.uint8).sum()

    assert 60 < peak_of(work) / 2**20 < 100


def test_rows_of_a_checkpoint_a_config_and_an_exported_file(folder):
    pytest.importorskip('onnxruntime')
    pytest.importorskip('onnxscript')
    export_onnx(folder / 'vit.pth', folder / 'vit.onnx')
    names = 'vit.pth', 'vit.py', 'vit.onnx'
    variants = [Variant.parse(f'{name}={folder / name}') for name in names]
    rows = bench_models(variants, runs=2, batch_sizes=[3], data=folder / 'data', memory=False)
    extract = FeatureExtractor.from_checkpoint(folder / 'vit.pth')
    weights = sum(p.numel() for p in extract.backbone.parameters())
    assert [row['name'] for row in rows] == list(names)
    assert rows[0]['M parameters'] == rows[1]['M parameters'] == weights / 1e6
    # without the mask token, with some constants
    assert rows[2]['M parameters'] == pytest.approx(weights / 1e6, rel=0.02)
    n, c = 24, 32  # tokens of 32x48 pixels, channels; the MLP is twice as wide
    block = 4 * n * c * c + 2 * n * n * c + 2 * n * c * 2 * c
    assert rows[0]['G operations'] == pytest.approx((n * 3 * 64 * c + block) / 1e9)
    assert [row['G operations'] for row in rows[1:]] == [rows[0]['G operations'], None]
    assert rows[0]['file MB'] == (folder / 'vit.pth').stat().st_size / 1e6
    assert rows[1]['file MB'] is None and rows[2]['runtime'] == 'onnxruntime'
    accuracy = knn_accuracy(extract, *load_split(folder / 'data'))
    assert rows[0]['kNN accuracy'] == rows[2]['kNN accuracy'] == accuracy
    assert 0 < accuracy < 100 and all(row['ms, batch 3'] > 0 for row in rows)


def test_a_file_of_others_runs_at_the_size_that_it_takes(tmp_path):
    onnx = pytest.importorskip('onnx')
    pytest.importorskip('onnxruntime')
    images, features = (
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 3, 8, 8])
        for name in ('images', 'features')
    )
    node = onnx.helper.make_node('Relu', ['images'], ['features'])
    graph = onnx.helper.make_graph([node], 'relu', [images], [features])
    opset = [onnx.helper.make_opsetid('', 20)]
    file = tmp_path / 'a.onnx'
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=10), file)
    variants, small = [Variant('relu', str(file))], dict(memory=False, runs=1)
    (row,) = bench_models(variants, size=(8, 8), batch_sizes=[1], **small)
    assert row['M parameters'] == 0 and row['spread, batch 1'] is None
    with pytest.raises(DeployError, match=r'not take images of 8x3x8x8 .*--batch-sizes'):
        bench_models(variants, size=(8, 8), **small)


def test_the_command_writes_a_table_and_a_plot(folder, tmp_path, capsys):
    path = folder / 'vit.pth'
    options = '--runs', '2', '--batch-sizes', '2', '--no-memory', '--out-dir', str(tmp_path)
    values = '--values', 'a=41.5', 'b=40', '--metric', 'mAP'
    main(['bench-model', f'a={path}', f'b={path}', *options, *values])
    out = capsys.readouterr().out
    assert 'ms, batch 2' in out and 'threads' in out and '41.5' in out
    rows = list(csv.DictReader((tmp_path / 'results.csv').open()))
    assert [row['mAP'] for row in rows] == ['41.5', '40.0']
    assert Image.open(tmp_path / 'tradeoff.png').size == (1050, 675)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['a.pth'], 'no checkpoint file at a.pth'),
        (['a.onnx'], 'no model at a.onnx'),
        (['no-such-config'], 'no config file no-such-config'),
        (['x=vit.pth', 'x=vit.pth'], 'names are not different: x, x'),
        (['vit.pth', '--values', 'x=1'], '--values names x, the models are vit.pth'),
        (['vit.pth', '--values', 'x'], 'is not like NAME=NUMBER'),
        (['vit.pth', '--runs', '0'], '--runs must be at least 1'),
        (['vit.pth', '--img-size', '0'], '--img-size takes'),
        (['vit.pth', '--maps', 'x'], '--maps is for --data'),
    ],
)
def test_wrong_input_is_one_line(arguments, message, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    with pytest.raises(SystemExit) as stop:
        main(['bench-model', '--no-memory', *arguments])
    assert stop.value.code == 2 and message in capsys.readouterr().err
