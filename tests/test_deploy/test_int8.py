"""8-bit files: weights within half a step, results near the original's, and what is reported."""

import sys
from pathlib import Path

import numpy as np
import onnx
import openvino
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))
import deploy_toys as toys

from simmim_mm.cli import main
from simmim_mm.datasets.errors import DataError
from simmim_mm.deploy import DeployError, OnnxRuntime, export_onnx
from simmim_mm.deploy.int8 import calibration_images, halve_constants, quantize
from simmim_mm.deploy.measure import mean_cosine, open_model
from simmim_mm.deploy.tasks import _knn, _mean_iou, find_task, results, score


@pytest.fixture(scope='module')
def classes(tmp_path_factory):
    """Three folders of four images, of three colors with noise."""
    root, rng = tmp_path_factory.mktemp('classes'), np.random.default_rng(0)
    for name, color in (('a', (200, 90, 90)), ('b', (90, 200, 90)), ('c', (90, 90, 200))):
        (root / name).mkdir()
        for i in range(4):
            pixels = np.clip(rng.normal(color, 40, (40, 48, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / name / f'{i}.png')
    return root


@pytest.fixture(scope='module')
def model(tmp_path_factory):
    """A classifier of the colors, as far as random weights are one."""
    folder = tmp_path_factory.mktemp('model')
    vit = dict(toys.BACKBONES['MaskedViT'], arch=dict(toys.VIT, feedforward_channels=256))
    config = toys.classifier(dict(vit, type='simmim_mm.MaskedViT'))
    path = toys.save(folder / 'x.pth', config, ('a', 'b', 'c'))
    export_onnx(path, folder / 'x.onnx')
    return folder / 'x.onnx'


def weights(path: Path) -> dict[str, np.ndarray]:
    return {w.name: onnx.numpy_helper.to_array(w) for w in onnx.load(path).graph.initializer}


def test_weights_are_within_half_a_step_of_each_channel(model, tmp_path):
    """Symmetric, a scale for each column: max|w| / 127."""
    quantize(model, tmp_path / 'x.onnx', method='dynamic')
    found, compared = weights(tmp_path / 'x.onnx'), 0
    for name, w in weights(model).items():
        if f'{name}_quantized' not in found or w.ndim != 2:
            continue
        q, scale = found[f'{name}_quantized'].astype(float), found[f'{name}_scale']
        np.testing.assert_allclose(scale, abs(w).max(0) / 127, rtol=2e-2)
        assert (abs(w - q * scale) <= 0.5 * scale + 1e-6).all()
        compared += 1
    assert compared >= 3


@pytest.mark.parametrize('method', ['openvino', 'static'])
def test_results_and_the_metric_stay(method, model, classes, tmp_path):
    out = tmp_path / f'x{".xml" if method == "openvino" else ".onnx"}'
    images = quantize(model, out, method=method, images=classes, num_images=6)
    assert images and len(images.paths) == 6
    assert [p.parent.name for p in map(Path, images.paths)] == ['a', 'a', 'b', 'b', 'c', 'c']
    original, runtime = OnnxRuntime(model), open_model(out)
    assert runtime.metadata == {**original.metadata, 'method': method}
    assert set(original.precisions()) == {'float32'}
    assert runtime.precisions()['int8'] >= 4
    scores = [results(m, images.arrays, 'scores') for m in (original, runtime)]
    assert 0.99 < mean_cosine(*scores) < 1 - 1e-9
    task = find_task(original, classes)
    before, after = score(task, original, (original, runtime))
    every = calibration_images(original, classes).arrays  # all twelve
    right = [x.argmax() == i // 4 for i, x in enumerate(results(original, every, 'scores'))]
    assert task.name == 'accuracy' and before == pytest.approx(100 * np.mean(right))
    assert abs(before - after) <= 100 / 12


def test_large_constants_are_stored_in_half_precision():
    """Those that it can hold, and that are no scales; the model computes in float32 as before."""
    ops, rng = openvino.opset13, np.random.default_rng(0)
    x, sizes = ops.parameter([1, 5000], np.float32), ((1, 5000), (1, 5000), (1, 1))
    large, huge, small = (rng.standard_normal(size).astype(np.float32) for size in sizes)
    huge[0, 0] = 1e6
    total = x
    for constant in (large, huge, small):
        total = ops.add(total, ops.constant(constant))
    model = openvino.Model([total], [x])
    halve_constants(model)
    constants = [node for node in model.get_ops() if node.get_type_name() == 'Constant']
    kinds = [node.get_element_type().to_string() for node in constants]
    assert sorted(kinds) == ['f16', 'f32', 'f32']
    found = openvino.compile_model(model, 'CPU', {'INFERENCE_PRECISION_HINT': 'f32'})
    expected = large.astype(np.float16).astype(np.float32) + huge + small
    np.testing.assert_allclose(found(np.zeros((1, 5000), np.float32))[0], expected, rtol=1e-6)


def test_the_command_reports_what_changed(model, classes, tmp_path, capsys):
    (classes / 'a' / 'damaged.png').write_bytes(b'no image')
    out = tmp_path / 'x.onnx'
    arguments = [str(model), '--method', 'dynamic', '-o', str(out)]
    main(['quantize', *arguments, '--verify', '--threads', '1'])
    text = capsys.readouterr().out
    assert f'wrote {out}' in text and 'fp32, onnxruntime' in text and 'int8 dynamic' in text
    assert ' float32 |' in text and ' int8 |' in text and 'in parentheses' in text
    (classes / 'a' / 'damaged.png').unlink()
    with pytest.raises(SystemExit):
        main(['quantize', *arguments])
    assert f'{out} exists' in capsys.readouterr().err


def test_files_that_cannot_be_read_are_named(model, classes, tmp_path):
    for i in range(2):
        (tmp_path / f'{i}.png').write_bytes((classes / 'a' / f'{i}.png').read_bytes())
    (tmp_path / '2.png').write_bytes(b'no image')
    found = calibration_images(OnnxRuntime(model), tmp_path)
    assert len(found.paths) == 2 and list(found.unreadable) == [str(tmp_path / '2.png')]


def test_what_cannot_be_quantized_is_refused_in_a_line(model, classes, tmp_path, monkeypatch):
    empty, out = tmp_path / 'empty', tmp_path / 'x.onnx'
    empty.mkdir()
    for options, error, message in (
        (dict(method='int4'), DeployError, r"--method must be one of .*got 'int4'"),
        (dict(method='static'), DeployError, r'--method static estimates .*--images FOLDER'),
        (dict(method='static', images=empty), DataError, r"--images: no image in '.*empty'"),
        (dict(method='static', images=tmp_path / 'no'), DataError, r"--images: no folder '"),
        (dict(method='openvino', images=classes), DeployError, r'must end in \.xml'),
        (dict(method='static', images=classes, num_images=0), DeployError, r'at least 1, got 0'),
    ):
        with pytest.raises(error, match=message):
            quantize(model, out, **options)
    other = onnx.load(model)
    del other.metadata_props[:]
    onnx.save(other, tmp_path / 'other.onnx')
    with pytest.raises(DeployError, match=r'does not say how images are loaded'):
        quantize(tmp_path / 'other.onnx', out, method='dynamic')
    (tmp_path / 'text.onnx').write_text('text')
    with pytest.raises(DeployError, match=r'onnxruntime does not run .*text\.onnx'):
        quantize(tmp_path / 'text.onnx', out, method='dynamic')
    with pytest.raises(FileNotFoundError, match=r'no ONNX file at .*none\.onnx'):
        quantize(tmp_path / 'none.onnx', out, method='dynamic')
    with pytest.raises(DeployError, match=r'--maps is for a segmenter'):
        find_task(OnnxRuntime(model), classes, classes)
    monkeypatch.setitem(sys.modules, 'nncf', None)
    with pytest.raises(DeployError, match=r"nncf is needed .*pip install '\.\[deploy\]'"):
        quantize(model, tmp_path / 'x.xml', method='openvino', images=classes)
    assert not out.exists()


def test_mean_iou_is_the_mean_of_intersection_over_union_of_the_classes_that_occur():
    rng = np.random.default_rng(0)
    predicted = [rng.integers(0, 3, (4, 6)) for _ in range(2)]
    maps = [rng.integers(0, 3, (8, 12)) for _ in range(2)]  # twice the size
    maps[0][:2] = 255
    large = [np.kron(x, np.ones((2, 2), int)) for x in predicted]
    ious = []
    for c in range(3):
        inside = [(a == c) & (b == c) for a, b in zip(large, maps)]
        either = [((a == c) | (b == c)) & (b != 255) for a, b in zip(large, maps)]
        ious.append(sum(x.sum() for x in inside) / sum(x.sum() for x in either))
    assert _mean_iou(predicted, maps) == pytest.approx(100 * np.mean(ious))


def test_neighbors_vote_for_those_that_do_not():
    maps = [np.full((2, 1, 1), v, np.float32) * [[[1]], [[s]]] for v, s in ((1, 1), (1, -1))]
    queries = [np.array([2, 1.5]).reshape(2, 1, 1), np.array([1, -2.0]).reshape(2, 1, 1)]
    labels = [(0, True), (1, True), (0, False), (0, False)]
    values = [x.astype(np.float32) for x in [*maps, *queries]]
    assert _knn(values, labels) == 50.0
