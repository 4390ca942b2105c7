"""Images of 1, 5 and 7 channels: from a pretraining into a classifier, detector and segmenter."""

import json

import cv2
import numpy as np
import pytest
import tifffile
import torch
from compare_toys import SWIN, write_checkpoint
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import DATASETS, MODELS, init_default_scope
from PIL import Image

from simmim_mm.cli import compare, parse_args
from simmim_mm.engine.checks import check_model, check_run
from simmim_mm.engine.launch import load_runner
from simmim_mm.experiments.downstream import set_budget

pytestmark = pytest.mark.filterwarnings(
    'ignore:faster_coco_eval is not installed',  # mmdet imports every metric that it has
    'ignore:Warning. The .* is out of bounds',  # nothing has been learned
)
CHANNELS = (1, 5, 7)
TASKS = ('classification', 'detection', 'segmentation')
PACKAGES = dict(classification='mmpretrain', detection='mmdet', segmentation='mmseg')


def write_image(path, channels, seed, box):
    """12 bits in 16, each channel in a range of its own; a bright box."""
    values = np.random.default_rng(seed).integers(100, 200, (64, 72, channels))
    values[box] += 3000
    values = (values + 50 * np.arange(channels)).astype(np.uint16)
    path.parent.mkdir(parents=True, exist_ok=True)
    layout = dict(planarconfig='contig') if channels > 1 else {}
    tifffile.imwrite(path, values.squeeze(), photometric='minisblack', **layout)


@pytest.fixture(scope='module', params=CHANNELS)
def project(request, tmp_path_factory):
    """Labeled data of each task and a checkpoint, all of so many channels."""
    channels, root = request.param, tmp_path_factory.mktemp(f'bands{request.param}')
    for part in ('train', 'val'):
        images, annotations = [], []
        for i in range(4):
            box = np.s_[8 : 40 + i, 16:60]
            write_image(root / 'det' / part / f'{i}.tif', channels, i, box)
            write_image(root / 'seg' / 'img_dir' / part / f'{i}.tif', channels, i, box)
            write_image(root / 'cls' / part / f'class{i % 2}' / f'{i}.tif', channels, i, box)
            labels = np.zeros((64, 72), np.uint8)
            labels[box], labels[50:] = 1, 2
            path = root / 'seg' / 'ann_dir' / part / f'{i}.png'
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(labels).save(path)
            images.append(dict(id=i, file_name=f'{i}.tif', height=64, width=72))
            annotations.append(
                dict(id=i + 1, image_id=i, category_id=0, iscrowd=0, area=44 * (32 + i))
                | dict(bbox=[16, 8, 44, 32 + i])
            )
        content = dict(images=images, annotations=annotations, categories=[dict(id=0, name='box')])
        (root / 'det' / f'{part}.json').write_text(json.dumps(content))
    mean = [500.0 + 50 * i for i in range(channels)]
    backbone = dict(SWIN, in_channels=channels)
    write_checkpoint(root / 'a.pth', backbone, mean, [900.0] * channels, channels=channels)
    return root, channels


@pytest.fixture(params=TASKS)
def prepared(request, project, tmp_path):
    """The task, and the config that the training from the checkpoint has."""
    pytest.importorskip(PACKAGES[request.param])
    if request.param == 'detection':
        pytest.importorskip('mmcv.ops', reason='mmdet needs the compiled operators of mmcv')
    root, channels = project
    folder = root / dict(classification='cls', detection='det', segmentation='seg')[request.param]
    command = ['compare', request.param, str(folder), '--checkpoints', f'a={root / "a.pth"}']
    starts, _ = compare.prepare(parse_args(command)[1], tmp_path)
    return request.param, Config(starts[1].settings), channels


def test_a_step_and_a_prediction(prepared):
    _, cfg, channels = prepared
    checked = check_run(cfg)
    init_default_scope(cfg.default_scope)
    model = MODELS.build(cfg.model)
    for mode, sample in checked.samples.items():
        assert sample['inputs'].shape[0] == channels
        check_model(model, sample, mode)
    sample = checked.samples['predict']
    batch = dict(inputs=[sample['inputs']], data_samples=[sample['data_samples']])
    values = model.data_preprocessor(batch)['inputs']
    means = values.mean((0, 2, 3))
    # each channel by its own mean: they differ by noise alone
    torch.testing.assert_close(means, means[:1].expand(channels), atol=0.02, rtol=0)
    assert values.abs().max() < 4


@pytest.mark.slow
def test_a_training_draws_predictions_on_chosen_channels(prepared, tmp_path):
    task, cfg, channels = prepared
    if task == 'classification':
        pytest.skip('classes are not drawn')
    unit = 'iters' if task == 'segmentation' else 'epochs'
    set_budget(cfg, **{unit: 1})
    cfg.work_dir, cfg.launcher = str(tmp_path / 'work'), 'none'
    shown = (channels - 1, 1, 0) if channels > 1 else (0,)
    cfg.default_hooks.visualization = dict(
        type='simmim_mm.PredictionHook', channels=shown, interval=2
    )
    for name in ('train_dataloader', 'val_dataloader'):
        cfg[name].update(num_workers=0, persistent_workers=False)
    cfg.visualizer.name = tmp_path.name  # another one for each test
    cfg.test_dataloader = cfg.test_evaluator = cfg.test_cfg = None
    runner, _ = load_runner(cfg)
    runner.train()
    pictures = sorted((tmp_path / 'work').rglob('val_*.png'))
    assert [path.name[:5] for path in pictures] == ['val_0', 'val_2']
    picture = cv2.imread(str(pictures[0]))
    assert picture.std() > 20  # the bright box can be seen, though 16 bits are nearly black


def for_arrays(steps, package):
    """As docs/how-to/multichannel.md writes it."""
    rest = [step for step in steps if 'Load' not in step['type']]
    return [dict(type=f'{package}.LoadImageFromNDArray'), *rest]


@pytest.mark.filterwarnings('ignore:checkpoint is None', 'ignore:.*avg_non_ignore')
@pytest.mark.parametrize('project', [7], indirect=True)
def test_files_and_arrays_in_the_apis_of_the_libraries(prepared):
    task, cfg, _ = prepared
    dataset = DATASETS.build(cfg.val_dataloader.dataset)
    path = dataset.get_data_info(0)['img_path']
    array = tifffile.imread(path).astype(np.float32)
    steps = cfg.test_dataloader.dataset.pipeline
    if task == 'detection':
        from mmdet.apis import inference_detector, init_detector

        model = init_detector(cfg, None, palette='random', device='cpu')
        found = [
            inference_detector(model, path).pred_instances.scores,
            inference_detector(
                model, array, test_pipeline=Compose(for_arrays(steps, 'mmdet'))
            ).pred_instances.scores,
        ]
    elif task == 'segmentation':
        from mmseg.apis import inference_model, init_model

        model = init_model(cfg, None, device='cpu')
        found = [inference_model(model, path).seg_logits.data]
        model.cfg.test_pipeline = for_arrays(model.cfg.test_pipeline, 'mmseg')
        found.append(inference_model(model, array).seg_logits.data)
    else:
        from mmpretrain import get_model

        model = get_model(cfg, device='cpu')
        load = Compose(model._config.test_dataloader.dataset.pipeline)
        sample = load(dict(img_path=path, gt_label=0))
        (found,) = model.test_step(pseudo_collate([sample]))
        (expected,) = model.test_step(pseudo_collate([dataset[0]]))
        found = [found.pred_score, expected.pred_score]
    assert len(found[0])
    torch.testing.assert_close(*found)


def test_three_channels_that_are_no_rgb_are_loaded_as_in_the_pretraining(tmp_path):
    pytest.importorskip('mmseg')
    for part, name in (('train', '0'), ('train', '1'), ('val', '0')):
        image = tmp_path / 'seg' / 'img_dir' / part / f'{name}.tif'
        write_image(image, 3, 0, np.s_[8:40, 16:60])
        path = tmp_path / 'seg' / 'ann_dir' / part / f'{name}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.eye(64, 72, dtype=np.uint8)).save(path)
    write_checkpoint(tmp_path / 'a.pth', SWIN, [500.0] * 3, [900.0] * 3, channels=3)
    command = ['compare', 'segmentation', str(tmp_path / 'seg')]
    _, arguments = parse_args([*command, '--checkpoints', f'a={tmp_path / "a.pth"}'])
    starts, _ = compare.prepare(arguments, tmp_path)
    cfg = Config(starts[1].settings)
    assert cfg.val_dataloader.dataset.pipeline[0] == dict(type='simmim_mm.LoadImage', channels=3)
    assert 'bgr_to_rgb' not in cfg.model.data_preprocessor
    assert check_run(cfg).samples['predict']['inputs'].max() > 3000


def test_statistics_that_do_not_fit_are_one_error():
    pytest.importorskip('mmseg')
    init_default_scope('mmseg')
    cfg = dict(type='simmim_mm.MultichannelPreprocessor', base='SegDataPreProcessor')
    with pytest.raises(ValueError, match='mean has 2 values and std'):
        MODELS.build(dict(cfg, mean=[0, 0], std=[1]))
    module = MODELS.build(dict(cfg, mean=[0.0] * 5, std=[2.0] * 5, bgr_to_rgb=True, pad_val=0))
    with pytest.raises(ValueError, match=r'images have 7 channels, but .* std for 5'):
        module(dict(inputs=[torch.zeros(7, 8, 8)], data_samples=None))
    images = torch.arange(5.0).view(1, 5, 1, 1).expand(2, 5, 8, 8)
    for inputs in (images, list(images)):
        found = module(dict(inputs=inputs, data_samples=None))['inputs']
        torch.testing.assert_close(found, images / 2)
