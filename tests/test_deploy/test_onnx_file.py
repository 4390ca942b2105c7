"""What is written as ONNX, run by onnxruntime and OpenVINO, gives what PyTorch gives."""

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import TRANSFORMS, DefaultScope
from torch.testing import assert_close

sys.path.insert(0, str(Path(__file__).parent))
import deploy_toys as toys

from simmim_mm.cli import main
from simmim_mm.deploy import DeployError, OnnxRuntime, export_onnx, onnx_file
from simmim_mm.deploy.exportable import Exportable, read_exportable
from simmim_mm.deploy.graphs import BackboneGraph
from simmim_mm.deploy.loading import ImageLoader, trained_size
from simmim_mm.interop import ExportError

MEAN, STD = (torch.tensor(toys.STATISTICS[k]).view(3, 1, 1) for k in ('mean', 'std'))


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp('checkpoints')

    def get(config: dict, classes: tuple = ()) -> Path:
        return toys.save(folder / f'{len(list(folder.iterdir()))}.pth', config, classes)

    return get


def run(path: Path, *inputs: torch.Tensor) -> list[torch.Tensor]:
    """Results of onnxruntime, and nothing of ours in between."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path)
    names = [x.name for x in session.get_inputs()]
    results = session.run(None, {n: x.numpy() for n, x in zip(names, inputs, strict=True)})
    return [torch.from_numpy(x) for x in results]


def near(found: torch.Tensor, expected: torch.Tensor) -> None:
    assert_close(found, expected, atol=1e-4 * max(1, expected.abs().max().item()), rtol=0)


@pytest.mark.parametrize('family', ['MaskedSwin', 'MaskedResNet'])
def test_backbone_takes_any_number_of_images_as_they_are_loaded(family, checkpoint, tmp_path):
    """ResNet images of any size, too."""
    config, out, free = toys.pretraining(family), tmp_path / 'x.onnx', family == 'MaskedResNet'
    report = export_onnx(checkpoint(config), out, verify=True, any_size=free)
    assert [a.runtime for a in report.agreements] == ['onnxruntime', 'openvino']
    assert all(0 < a.difference < 1e-5 for a in report.agreements)
    assert 'images of 32x32' in str(report) and f'wrote {out}' in str(report)
    backbone = toys.build(config).backbone
    for batch, size in ((1, (32, 32)), (7, (96, 64) if free else (32, 32))):
        images = 255 * torch.rand(batch, 3, *size)
        with torch.no_grad():
            expected = backbone((images - MEAN) / STD)
        for a, b in zip(run(out, images), expected, strict=True):
            near(a, b)


@pytest.fixture(scope='module')
def photos(tmp_path_factory):
    """Three photographs of scikit-learn and scikit-image."""
    from PIL import Image
    from skimage import data
    from sklearn.datasets import load_sample_images

    folder = tmp_path_factory.mktemp('photos')
    for i, image in enumerate([*load_sample_images().images, data.astronaut()]):
        Image.fromarray(image).save(folder / f'{i}.png')
    return sorted(map(str, folder.iterdir()))


def predicted(config: dict, photos: list[str], skipped: str = '') -> list:
    """What the library's own pipeline and ``predict`` make of image files."""
    model, scope = toys.build(config), config['default_scope']
    steps = config['val_dataloader']['dataset']['pipeline']
    with DefaultScope.overwrite_default_scope(scope):
        pipeline = Compose([TRANSFORMS.build(s) for s in steps if s['type'] != skipped])
    samples = []
    for photo in photos:
        with torch.no_grad():
            samples += model.test_step(pseudo_collate([pipeline(dict(img_path=photo))]))
    return samples


def test_classifier_predicts_what_mmpretrain_predicts_of_files(checkpoint, photos, tmp_path):
    config, out = toys.classifier(), tmp_path / 'x.onnx'
    export_onnx(checkpoint(config, ('cat', 'dog', 'eel')), out, verify=True)
    about = OnnxRuntime(out).metadata
    assert about['classes'] == ['cat', 'dog', 'eel'] and about['kind'] == 'classifier'
    assert about['normalization'] == toys.STATISTICS and about['channel_order'] == 'RGB'
    assert 'float32 (batch, 3, 32, 32), channels RGB' in about['input']

    load = ImageLoader(about['pipeline'], about['channel_order'], tuple(about['image_size']))
    scores = run(out, torch.from_numpy(np.stack([load(photo) for photo in photos])))[0]
    for ours, theirs in zip(scores, predicted(config, photos), strict=True):
        near(ours, theirs.pred_score)
        assert ours.argmax() == theirs.pred_label


def test_segmenter_predicts_what_mmseg_predicts(checkpoint, photos, tmp_path):
    """Photographs are brought to 64x64 beforehand: of other sizes mmseg resizes its result."""
    from PIL import Image

    config, out = toys.segmenter(), tmp_path / 'x.onnx'
    report = export_onnx(checkpoint(config), out, verify=True)
    assert report.description['image_size'] == [64, 64]
    for i, photo in enumerate(photos):
        path = tmp_path / f'{i}.png'
        Image.open(photo).resize((64, 64)).save(path)
        image = torch.tensor(np.asarray(Image.open(path))).permute(2, 0, 1)[None].float()
        labels, logits = run(out, image)
        theirs = predicted(config, [str(path)], 'LoadAnnotations')[0]
        near(logits[0], theirs.seg_logits.data)
        assert torch.equal(labels, theirs.pred_sem_seg.data) and len(labels.unique()) > 1


class Pooled(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        return [torch.nn.functional.adaptive_avg_pool2d(x, (3, 3))]


def test_what_is_silently_wrong_at_other_sizes_is_refused():
    """Of this pooling, as in UPerNet, the exporter writes a graph of free size with fixed cells."""
    graph = BackboneGraph(Pooled(), *toys.STATISTICS.values())
    pooled = Exportable(Path('x.pth'), 'Pooled', graph, (24, 24), 3, 'RGB', (), [])
    fixed = OnnxRuntime(onnx_file.to_onnx(pooled))
    assert onnx_file.compare(pooled, fixed).difference < 1e-5
    free = OnnxRuntime(onnx_file.to_onnx(pooled, any_size=True))
    sizes = onnx_file.other_sizes(pooled)
    with pytest.raises(DeployError, match=r'differs by .* for 2 images of 56x24 .*--any-size'):
        onnx_file.compare(pooled, free, sizes)


def test_reconstruction_of_images_under_a_mask(checkpoint, tmp_path):
    config, out = toys.pretraining('MaskedViT'), tmp_path / 'x.onnx'
    export_onnx(checkpoint(config), out, part='model')
    model, images = toys.build(config), 255 * torch.rand(3, 3, 32, 32)
    mask = torch.rand(3, 4, 4) > 0.5
    shown = model.reconstruct((images - MEAN) / STD, mask)
    for name, found in zip(('reconstruction', 'prediction'), run(out, images, mask), strict=True):
        assert_close(found, shown[name], atol=1e-2, rtol=0)  # of 255
    visible = ~mask.repeat_interleave(8, 1).repeat_interleave(8, 2)[:, None].expand_as(images)
    assert_close(run(out, images, mask)[0][visible], images[visible], atol=1e-2, rtol=0)


def test_boxes_of_a_detector_suppressed_are_those_that_mmdet_predicts(checkpoint):
    pytest.importorskip('mmcv.ops', exc_type=ImportError)
    from mmdet.structures import DetDataSample
    from torchvision.ops import batched_nms

    config = toys.retinanet()
    exportable = read_exportable(checkpoint(config))
    assert exportable.size == (64, 96)
    model, images = exportable.graph.model, exportable.examples(2)[0]
    sample = DetDataSample(metainfo=dict(img_shape=(64, 96), scale_factor=(1, 1)))
    with torch.no_grad():
        model.bbox_head.retina_cls.weight.mul_(0.02)  # so that no two scores are 1
        theirs = model.predict((images - MEAN) / STD, [sample, sample.clone()], rescale=False)
        boxes, scores = exportable.graph(images)
    for b, s, sample in zip(boxes, scores, theirs, strict=True):
        index, label = (s > 0.3).nonzero(as_tuple=True)
        kept = batched_nms(b[index], s[index, label], label, 0.5)[:50]
        assert len(kept) > 5
        assert_close(s[index, label][kept], sample.pred_instances.scores)
        assert_close(b[index][kept], sample.pred_instances.bboxes)
        assert torch.equal(label[kept], sample.pred_instances.labels)


def test_a_wrong_file_is_not_written(checkpoint, tmp_path, monkeypatch):
    path = checkpoint(toys.pretraining('MaskedViT'))
    exportable = read_exportable(path)
    model = onnx.load_from_string(onnx_file.to_onnx(exportable))
    weight = next(w for w in model.graph.initializer if len(w.dims) == 4)
    weight.raw_data = (2 * onnx.numpy_helper.to_array(weight)).tobytes()
    with pytest.raises(DeployError, match=r'features of onnxruntime differs by .* nothing is'):
        onnx_file.compare(exportable, OnnxRuntime(model.SerializeToString()))
    with pytest.raises(DeployError, match=r'--opset 12: PyTorch writes .* from version 18 on'):
        export_onnx(path, tmp_path / 'x.onnx', opset=12)
    monkeypatch.setitem(sys.modules, 'onnxscript', None)
    with pytest.raises(DeployError, match=r"onnxscript is needed .*pip install '\.\[deploy\]'"):
        export_onnx(path, tmp_path / 'x.onnx')
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ('config', 'options', 'message'),
    [
        (toys.pretraining('MaskedBEiT'), dict(any_size=True), r'MaskedBEiT does not take .*any'),
        (toys.pretraining('MaskedViT'), dict(window=7), r'a MaskedViT has no windows'),
        (toys.pretraining('MaskedViT'), dict(part='head'), r"--part must be .*got 'head'"),
        (toys.segmenter(), dict(img_size=50), r'must be multiples of 32'),
        (
            toys.classifier(dict(type='SwinTransformer', arch='tiny', img_size=32, window_size=1)),
            {},
            r"OpenMMLab's own shifted-window .*simmim_mm\.MaskedSwin",
        ),
        (
            toys.classifier(type='MultiTaskHead', task_heads={}),
            {},
            r'MultiTaskHead is not exported.*--part backbone',
        ),
    ],
)
def test_what_cannot_be_exported_is_refused_at_once(config, options, message, checkpoint, tmp_path):
    with pytest.raises(ExportError, match=message):
        export_onnx(checkpoint(config), tmp_path / 'x.onnx', **options)


@pytest.mark.parametrize(
    ('scope', 'message'),
    [
        ('mmpretrain', 'a whole SimSiam is not exported. Export its backbone: --part backbone'),
        ('simmim_mm', 'the config has no model with a backbone: nothing to export'),
    ],
)
def test_models_of_other_kinds_are_refused_with_the_reason_alone(scope, message, tmp_path):
    model = dict(type='SimSiam', backbone=dict(type='ResNet', depth=18))
    config = Config(dict(default_scope=scope, **(dict(model=model) if 'pre' in scope else {})))
    path = tmp_path / 'x.pth'
    torch.save(dict(meta=dict(cfg=config.pretty_text), state_dict={'a': torch.zeros(1)}), path)
    with pytest.raises(ExportError) as refused:
        export_onnx(path, tmp_path / 'x.onnx')
    assert str(refused.value) == f'{path}: {message}'


def test_the_command(checkpoint, tmp_path, capsys):
    """Options of ONNX with other libraries, and files that exist or end otherwise, are errors."""
    path, out = str(checkpoint(toys.pretraining('MaskedViT'))), tmp_path / 'x.onnx'
    out.write_text('here')
    for arguments, message in (
        (['--to', 'onnx', '-o', str(out)], f'{out} exists: give another name, or --force'),
        (['--to', 'onnx', '-o', str(tmp_path / 'x.pth')], f'{tmp_path}/x.pth must end in .onnx'),
        (['--to', 'timm', '-o', 'x.pth', '--any-size'], '--any-size is an option of --to onnx'),
        (['--to', 'timm', '-o', 'x.pth', '--opset', '20'], '--opset is an option of --to onnx'),
    ):
        with pytest.raises(SystemExit):
            main(['export', path, *arguments])
        assert capsys.readouterr().err.startswith(f'error: {message}')
    assert out.read_text() == 'here'


def test_the_size_is_that_of_the_last_step_that_crops_or_resizes():
    def size(*steps: tuple) -> tuple | None:
        pipeline = [dict(type=kind, **options) for kind, options in steps]
        return trained_size(Config(dict(train_dataloader=dict(dataset=dict(pipeline=pipeline)))))

    load, crop = ('LoadImageFromFile', {}), ('RandomCrop', dict(crop_size=(32, 48)))
    resize = ('Resize', dict(scale=(96, 64)))  # width and height
    assert size(load, resize, crop) == (32, 48) and size(load, crop, resize) == (64, 96)
    assert size(load, ('RandomResizedCrop', dict(scale=(24, 40)))) == (24, 40)
    assert size(load, ('ResizeToCover', dict(size=20))) == (20, 20)
    assert size(load) is None
